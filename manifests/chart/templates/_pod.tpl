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
serviceAccountName: {{ include "vso-prober.account" . }}
terminationGracePeriodSeconds: 30
{{- include "vso-prober.scheduling" .Values }}
{{ include "vso-prober.every-pod" (list . (include "vso-prober.config" . | fromJson) (include "vso-prober.fullname" .)) | trim }}
{{- end }}

{{- /* Where Pods may run, by values that say so. */}}
{{- define "vso-prober.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- /* What all Pods have in common: a list of the root, the configuration, and the ConfigMap that holds it. The volumes are last. */}}
{{- define "vso-prober.every-pod" -}}
{{- $config := index . 1 }}{{ $map := index . 2 }}
{{- with index . 0 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- $security := .Values.podSecurityContext }}
{{- if .Capabilities.APIVersions.Has "security.openshift.io/v1" }}
{{- $security = omit $security "runAsUser" "runAsGroup" "fsGroup" }}
{{- end }}
securityContext: {{- toYaml $security | nindent 2 }}
volumes:
- name: config
  configMap: {name: {{ $map }}}
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
{{- end }}

{{- define "vso-prober.container" -}}
{{ include "vso-prober.every-container" (list . (include "vso-prober.config" . | fromJson) .Values.resources) }}
{{- end }}

{{- /* What all containers have in common: a list of the root, the configuration, and the resources. The mounts are last. */}}
{{- define "vso-prober.every-container" -}}
{{- $config := index . 1 }}{{ $resources := index . 2 }}
{{- with index . 0 }}
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
resources: {{- toYaml $resources | nindent 2 }}
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
{{- end }}
