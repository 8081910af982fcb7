{{- /* Where the Pod has its token for Vault. */}}
{{- define "vso-prober.token-folder" -}}
/var/run/secrets/vso-prober
{{- end }}

{{- /* The configuration, with what was left out, as JSON. Of choices, such as a login, the user's replaces the default as a whole. */}}
{{- define "vso-prober.config" -}}
{{- $full := include "vso-prober.fullname" . }}
{{- $config := deepCopy .Values.config }}
{{- if $config.audit }}{{ fail "config.audit is not for what probes: set audit.enabled and audit.config, and a StatefulSet judges audit logs" }}{{ end }}
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
{{- if and .Values.audit.enabled (dig "trace" true .Values.audit.config) }}
  {{- $_ := set $config "audit" (dict "url" (printf "http://%s:%s" (include "vso-prober.audit.name" .) (include "vso-prober.listen" .))) }}
{{- end }}
{{- toJson $config }}
{{- end }}

{{- /* Where the judge of audit logs has its Secret, and its volume. */}}
{{- define "vso-prober.audit.secret-folder" -}}
/etc/vso-prober-audit
{{- end }}
{{- define "vso-prober.audit.state-folder" -}}
/var/lib/vso-prober
{{- end }}

{{- /* Whether any audit lines arrive by HTTP. */}}
{{- define "vso-prober.audit.http" -}}
{{- range append .Values.audit.config.sources (.Values.audit.config.kubernetes | default dict) }}{{ if hasKey . "http" }}yes{{ end }}{{ end }}
{{- end }}

{{- /* The configuration of the judge of audit logs, as JSON: Vault, the operator and the probes as above, a login of its own, and
nothing that is pushed or stored, which the prober does. */}}
{{- define "vso-prober.audit.config" -}}
{{- $probing := include "vso-prober.config" . | fromJson }}
{{- $login := $probing.vault.auth }}
{{- $config := pick $probing "kubernetes" "operator" "probes" "instance" "labels" }}
{{- $_ := set $config "server" (pick ($probing.server | default dict) "listen") }}
{{- $auth := deepCopy .Values.audit.vaultAuth }}
{{- if not $auth }}
  {{- $own := dict "role" (include "vso-prober.audit.name" .) }}
  {{- with $login.kubernetes }}{{ with .mount }}{{ $_ := set $own "mount" . }}{{ end }}{{ end }}
  {{- $_ := set $auth "kubernetes" $own }}
{{- end }}
{{- with $auth.kubernetes }}
  {{- if not .tokenFile }}{{ $_ := set . "tokenFile" (printf "%s/vault-token" (include "vso-prober.token-folder" $)) }}{{ end }}
{{- end }}
{{- $_ := set $config "vault" (set $probing.vault "auth" $auth) }}
{{- $audit := deepCopy .Values.audit.config }}
{{- if $audit.url }}{{ fail "audit.config.url is not for what judges audit logs: what probes has it by itself" }}{{ end }}
{{- $_ := set $audit "state" (printf "%s/audit" (include "vso-prober.audit.state-folder" .)) }}
{{- if include "vso-prober.audit.http" . }}
  {{- $folder := include "vso-prober.audit.secret-folder" . }}
  {{- $tls := dict "certFile" (printf "%s/tls.crt" $folder) "keyFile" (printf "%s/tls.key" $folder) }}
  {{- $server := dict "listen" "0.0.0.0:9466" "tls" $tls "bearerTokenFile" (printf "%s/token" $folder) }}
  {{- $_ := set $audit "server" (merge ($audit.server | default dict) $server) }}
{{- end }}
{{- /* What probes reads its canaries too. */}}
{{- $readers := list }}
{{- range list $login.kubernetes $login.jwt | compact }}{{ $readers = append $readers (dict "role" .role) }}{{ end }}
{{- with concat $readers ($audit.readers | default list) }}{{ $_ := set $audit "readers" . }}{{ end }}
{{- $_ := set $config "audit" $audit }}
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
