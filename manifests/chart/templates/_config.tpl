{{- /* Where the Pod has its token for Vault. */}}
{{- define "vso-prober.token-folder" -}}
/var/run/secrets/vso-prober
{{- end }}

{{- /* The configuration, with what was left out, as JSON. Of choices, such as a login, the user's replaces the default as a whole. */}}
{{- define "vso-prober.config" -}}
{{- $full := include "vso-prober.fullname" . }}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "kubernetes" (merge (dict "namespace" .Release.Namespace) ($config.kubernetes | default dict)) }}
{{- if not (index $config.vault "auth") }}
  {{- $_ := set $config.vault "auth" (dict "kubernetes" (dict "role" $full)) }}
{{- end }}
{{- with $config.vault.auth.kubernetes }}
  {{- if not .tokenFile }}{{ $_ := set . "tokenFile" (printf "%s/vault-token" (include "vso-prober.token-folder" $)) }}{{ end }}
{{- end }}
{{- if not (hasKey $config.operator "metrics") }}
  {{- $pods := dict "port" 8443 "scheme" "https" }}
  {{- /* A token for /metrics only: the operator's chart has a self-signed certificate, so anyone may answer there. */}}
  {{- $_ := set $config.operator "metrics" (dict "pods" $pods "serviceAccount" (printf "%s-metrics" $full) "insecureSkipVerify" true) }}
{{- end }}
{{- if .Values.canaries.create }}
  {{- range $config.probes }}
    {{- range (list .static .dynamic .pki | compact) }}
      {{- if not .authRef }}{{ $_ := set . "authRef" (include "vso-prober.canaries" $) }}{{ end }}
    {{- end }}
  {{- end }}
{{- end }}
{{- if and (not $config.instance) (ne $full "vso-prober") }}
  {{- $_ := set $config "instance" $full }}
{{- end }}
{{- toJson $config }}
{{- end }}

{{- /* The port of a URL. */}}
{{- define "vso-prober.port" -}}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $port | default (eq $url.scheme "https" | ternary "443" "80") }}
{{- end }}

{{- /* The port that `serve` listens on. */}}
{{- define "vso-prober.listen" -}}
{{ regexFind "[0-9]+$" ((.Values.config.server | default dict).listen | default "127.0.0.1:9465") }}
{{- end }}
