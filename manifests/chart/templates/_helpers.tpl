{{- define "vso-prober.metadata" -}}
name: {{ .Release.Name }}
namespace: {{ .Release.Namespace }}
labels: {{- include "vso-prober.labels" . | nindent 2 }}
{{- end }}

{{- define "vso-prober.selector" -}}
app.kubernetes.io/name: vso-prober
{{- end }}

{{- define "vso-prober.labels" -}}
{{ include "vso-prober.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Of the Pod and its container what is the same however they are run. */}}
{{- define "vso-prober.pod" -}}
serviceAccountName: {{ .Release.Name }}
terminationGracePeriodSeconds: 30
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
volumes:
- name: config
  configMap: {name: {{ .Release.Name }}}
- name: vault-token
  projected:
    sources:
    - serviceAccountToken: {path: vault-token, audience: vault, expirationSeconds: 3600}
{{- with .Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "vso-prober.container" -}}
name: vso-prober
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
env:
- {name: VSO_PROBER_CONFIG, value: /etc/vso-prober/config.yaml}
resources: {{- toYaml .Values.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
- {name: config, mountPath: /etc/vso-prober, readOnly: true}
- {name: vault-token, mountPath: /var/run/secrets/vso-prober, readOnly: true}
{{- with .Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
