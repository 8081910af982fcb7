{{- define "vso-prober.pod-metadata" -}}
labels:
  {{- include "vso-prober.selector" . | nindent 2 }}
  {{- with merge (dict) .Values.podLabels .Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* What the Pod of a Deployment and that of a CronJob have in common. */}}
{{- define "vso-prober.pod" -}}
{{- $config := include "vso-prober.config" . | fromJson }}
serviceAccountName: {{ include "vso-prober.account" . }}
terminationGracePeriodSeconds: 30
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- $security := .Values.podSecurityContext }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- $security = omit $security "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
securityContext: {{- toYaml $security | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
volumes:
- name: config
  configMap: {name: {{ include "vso-prober.fullname" . }}}
{{- if or $config.vault.auth.kubernetes $config.vault.auth.jwt }}
- name: vault-token
  projected:
    sources:
    - serviceAccountToken:
        path: vault-token
        audience: {{ .Values.vaultToken.audience }}
        expirationSeconds: {{ .Values.vaultToken.expirationSeconds }}
{{- end }}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vso-prober.container" -}}
{{- $config := include "vso-prober.config" . | fromJson }}
name: vso-prober
image: {{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
env:
- {name: VSO_PROBER_CONFIG, value: /etc/vso-prober/config.yaml}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
- {name: config, mountPath: /etc/vso-prober, readOnly: true}
{{- if or $config.vault.auth.kubernetes $config.vault.auth.jwt }}
- {name: vault-token, mountPath: {{ include "vso-prober.token-folder" . }}, readOnly: true}
{{- end }}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
