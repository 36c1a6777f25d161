{{/* The Secret with the page's token for Pulsar as JSON: name and key; empty if it needs none. */}}
{{- define "skymap-scanner.pageToken" -}}
{{- $given := .Values.page.pulsar.tokenSecret }}
{{- $own := include "skymap-scanner.ownKeys" . }}
{{- if $given -}}
{{ dict "name" $given "key" .Values.page.pulsar.tokenKey | toJson }}
{{- else if $own -}}
{{ dict "name" $own "key" "page-token" | toJson }}
{{- else if include "skymap-scanner.authentication" . }}
{{- fail "page.enabled: the evaluation Pulsar requires a token: name a Secret with one in page.pulsar.tokenSecret" }}
{{- end }}
{{- end }}

{{/* The page's role in Pulsar, if it has one there. */}}
{{- define "skymap-scanner.pageRole" -}}
{{- if and .Values.page.enabled (or (include "skymap-scanner.pageToken" .) .Values.page.pulsar.certificateSecret) -}}
{{- $others := dict "pulsar.role" .Values.pulsar.role "pulsar.operator.role" .Values.pulsar.operator.role }}
{{- if .Values.pulsar.evaluation }}
{{- $_ := set $others "the evaluation Pulsar's own role" "pulsar-broker" }}
{{- end }}
{{- range $name, $role := $others }}
{{- if eq $role $.Values.page.pulsar.role }}
{{- fail (printf "page.pulsar.role is %s, as %s: the page needs a role of its own, with fewer rights" $role $name) }}
{{- end }}
{{- end -}}
{{ .Values.page.pulsar.role }}
{{- end }}
{{- end }}

{{/* The page's volumes that hold Secrets as JSON: by name, the Secret and, if not all of them, the keys. */}}
{{- define "skymap-scanner.pageSecrets" -}}
{{- $page := .Values.page }}
{{- $found := dict }}
{{- with include "skymap-scanner.pageToken" . }}
{{- $token := fromJson . }}
{{- $_ := set $found "token" (dict "secret" $token.name "keys" (list $token.key)) }}
{{- end }}
{{- with .Values.pulsar.operator.trustedSecret }}
{{- $_ := set $found "trusted" (dict "secret" . "keys" (list $.Values.pulsar.operator.trustedKey)) }}
{{- end }}
{{- with $page.pulsar.certificateSecret }}
{{- $_ := set $found "certificate" (dict "secret" . "keys" (list "tls.crt" "tls.key")) }}
{{- end }}
{{- with $page.tlsSecret }}
{{- $_ := set $found "serving" (dict "secret" . "keys" (list "tls.crt" "tls.key")) }}
{{- end }}
{{- with $page.proxySecret }}
{{- $_ := set $found "proxy" (dict "secret" . "keys" (list $page.proxyKey)) }}
{{- end }}
{{- toJson $found }}
{{- end }}

{{/* The variables of the page: SKYMAP_NAME=VALUE. */}}
{{- define "skymap-scanner.pageEnvironment" -}}
{{- $secrets := include "skymap-scanner.pageSecrets" . | fromJson }}
{{- $found := dict "BROKER" (include "skymap-scanner.pulsarServiceUrl" .) "ADMIN_URL" (include "skymap-scanner.pulsarAdminUrl" .) }}
{{- with $secrets.token }}
{{- $_ := set $found "AUTH_TOKEN_FILE" (printf "/secrets/token/%s" (first .keys)) }}
{{- end }}
{{- with $secrets.trusted }}
{{- $_ := set $found "TLS_TRUST_CERTS" (printf "/secrets/trusted/%s" (first .keys)) }}
{{- end }}
{{- if $secrets.certificate }}
{{- $_ := set $found "TLS_CERTIFICATE" "/secrets/certificate/tls.crt" }}
{{- $_ := set $found "TLS_KEY" "/secrets/certificate/tls.key" }}
{{- end }}
{{- with $secrets.proxy }}
{{- $_ := set $found "PAGE_PROXY_SECRET_FILE" (printf "/secrets/proxy/%s" (first .keys)) }}
{{- end }}
{{- range $name, $value := $found }}
- {name: SKYMAP_{{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
