{{- define "vso-prober.audit.pod-logs" }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}

{{- /* What `vso-prober doctor --only audit --print-rbac` prints: a list of the root and the configuration. */}}
{{- define "vso-prober.audit.rights" }}
{{- $config := index . 1 }}
{{- $root := index . 0 }}
{{- with $root }}
{{- $account := include "vso-prober.audit.account" . }}
{{- $home := .Release.Namespace }}
{{- $outside := printf "%s.%s" $account $home }}
{{- $metrics := $config.operator.metrics | default dict }}
{{- $operator := $config.operator.namespace }}
{{- $roles := list (list $operator $outside) }}
{{- $logs := dict }}
{{- range $config.audit.sources }}{{ with .podLogs }}{{ $_ := set $logs .namespace true }}{{ end }}{{ end }}
---
# The operator's Pods and its Lease say when it was there; findings become events on its Deployment.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $outside }}
  namespace: {{ $operator }}
  labels: {{- include "vso-prober.audit.labels" . | nindent 4 }}
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [b0d477c0.hashicorp.com]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- if hasKey $logs $operator }}{{ include "vso-prober.audit.pod-logs" . }}{{ end }}
{{- range $place, $_ := omit $logs $operator $home }}
{{- $roles = append $roles (list $place $outside) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $outside }}
  namespace: {{ $place }}
  labels: {{- include "vso-prober.audit.labels" $root | nindent 4 }}
rules:
{{- include "vso-prober.audit.pod-logs" . }}
{{- end }}
{{- if or $metrics.serviceAccount (hasKey $logs $home) }}
{{- $roles = append $roles (list $home $account) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $account }}
  namespace: {{ $home }}
  labels: {{- include "vso-prober.audit.labels" $root | nindent 4 }}
rules:
{{- with $metrics.serviceAccount }}
- apiGroups: [""]
  resources: [serviceaccounts/token]
  resourceNames: [{{ . }}]
  verbs: [create]
{{- end }}
{{- if hasKey $logs $home }}{{ include "vso-prober.audit.pod-logs" . }}{{ end }}
{{- end }}
{{- range $roles }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ last . }}
  namespace: {{ first . }}
  labels: {{- include "vso-prober.audit.labels" $root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: {{ last . }}}
subjects:
- {kind: ServiceAccount, name: {{ $account }}, namespace: {{ $home }}}
{{- end }}
{{- $wide := list $outside }}
---
# The identities of the operator are those of every VaultAuth. Without the right on Pods, every identity counts as shared with other
# workloads, and its findings as less sure.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $outside }}
  labels: {{- include "vso-prober.audit.labels" . | nindent 4 }}
rules:
{{- if not (kindIs "slice" $config.audit.identities) }}
- apiGroups: [secrets.hashicorp.com]
  resources: [vaultauths]
  verbs: [list]
- apiGroups: [secrets.hashicorp.com]
  resources: [vaultauthglobals]
  verbs: [list]
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
{{- if and (not $metrics.serviceAccount) $metrics.bearerTokenFile (or (hasKey $metrics "pods") $metrics.url) }}
{{- $name := printf "%s-metrics.%s" $account $home }}
{{- $wide = append $wide $name }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $name }}
  labels: {{- include "vso-prober.audit.labels" . | nindent 4 }}
rules:
- nonResourceURLs: [{{ $metrics.url | default "/metrics" | urlParse | dig "path" "/metrics" }}]
  verbs: [get]
{{- end }}
{{- range $wide }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ . }}
  labels: {{- include "vso-prober.audit.labels" $root | nindent 4 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ . }}}
subjects:
- {kind: ServiceAccount, name: {{ $account }}, namespace: {{ $home }}}
{{- end }}
{{- end }}
{{- end }}
