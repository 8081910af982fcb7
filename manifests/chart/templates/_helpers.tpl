{{- /* The name of all objects. A CronJob's may have 52 characters, and some get a suffix. */}}
{{- define "vso-prober.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- $full = .Values.fullnameOverride | default $full }}
{{- if gt (len $full) 41 }}{{ $full = printf "%s-%s" ($full | trunc 32 | trimSuffix "-") (sha256sum $full | trunc 8) }}{{ end }}
{{- $full }}
{{- end }}

{{- /* The name of what lies outside the release's namespace, where another release may be called alike. */}}
{{- define "vso-prober.outside" -}}
{{ include "vso-prober.fullname" . }}.{{ .Release.Namespace }}
{{- end }}

{{- define "vso-prober.account" -}}
{{ .Values.serviceAccount.name | default (include "vso-prober.fullname" .) }}
{{- end }}

{{- define "vso-prober.canaries" -}}
{{ include "vso-prober.fullname" . }}-canaries
{{- end }}

{{- define "vso-prober.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vso-prober.labels" -}}
{{ include "vso-prober.selector" . }}
{{ include "vso-prober.common-labels" . }}
{{- end }}

{{- define "vso-prober.common-labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* The judge of audit logs: its objects' name, its account, what selects its Pod and not one that probes, its labels. */}}
{{- define "vso-prober.audit.name" -}}
{{ include "vso-prober.fullname" . }}-audit
{{- end }}

{{- define "vso-prober.audit.account" -}}
{{ .Values.audit.serviceAccount.name | default (include "vso-prober.audit.name" .) }}
{{- end }}

{{- define "vso-prober.audit.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}-audit
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "vso-prober.audit.labels" -}}
{{ include "vso-prober.audit.selector" . }}
{{ include "vso-prober.common-labels" . }}
{{- end }}

{{- define "vso-prober.audit.metadata" -}}
name: {{ include "vso-prober.audit.name" . }}
namespace: {{ .Release.Namespace }}
labels: {{- include "vso-prober.audit.labels" . | nindent 2 }}
{{- end }}

{{- /* The metadata of an object in the release's namespace; the name's suffix is the second of a list. */}}
{{- define "vso-prober.metadata" -}}
name: {{ include "vso-prober.fullname" . }}
namespace: {{ .Release.Namespace }}
labels: {{- include "vso-prober.labels" . | nindent 2 }}
{{- end }}

{{- /* Whether an object of Prometheus Operator's is wanted: a list of the root, the value and the kind. */}}
{{- define "vso-prober.monitored" -}}
{{- $root := index . 0 }}{{ $wanted := index . 1 | toString }}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") ($root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" (index . 2)))) }}yes{{ end }}
{{- end }}
