{{/* Security context of the `restricted` level for a pod with these user and group ids, which may be none. */}}
{{- define "skymap-scanner.podSecurity" -}}
{{- range $name, $id := . }}
{{ $name }}: {{ $id | int64 }}
{{- end }}
fsGroupChangePolicy: OnRootMismatch
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
Metadata of a pod, with the labels and annotations that the values add; ours win: (list . COMPONENT VALUES). VALUES are
those of the operator or of Pulsar.
*/}}
{{- define "skymap-scanner.podMeta" -}}
{{- $values := index . 2 -}}
labels:
  {{- merge (include "skymap-scanner.labels" . | fromYaml) $values.podLabels | toYaml | nindent 2 }}
{{- with $values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "skymap-scanner.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- end }}

{{/* Where pods run, and as whom, as the values of the operator or of the page say. */}}
{{- define "skymap-scanner.placement" -}}
enableServiceLinks: false
{{- with .imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
securityContext:
  {{- include "skymap-scanner.podSecurity" .securityContext | nindent 2 }}
{{- end }}

{{/* What the operator's pod and the pods of the hooks have in common. */}}
{{- define "skymap-scanner.operatorPod" -}}
{{ include "skymap-scanner.placement" .Values.operator }}
volumes:
  # Tokens of scans with a Pulsar of their own are written here for a moment: to memory, never to disk.
  - name: tmp
    emptyDir: {medium: Memory, sizeLimit: 16Mi}
  {{- range $name, $secret := include "skymap-scanner.pulsarSecrets" . | fromJson }}
  - name: pulsar-{{ $name }}
    secret:
      secretName: {{ $secret | quote }}
      {{- if eq $name "signing" }}
      items:
        {{- $key := include "skymap-scanner.signingKey" $ | quote }}
        - {key: {{ $key }}, path: {{ $key }}}
      {{- end }}
  {{- end }}
{{- end }}

{{/* The image of these pods, with its resources and rights. */}}
{{- define "skymap-scanner.operatorImage" -}}
image: {{ include "skymap-scanner.image" (list . .Values.operator.image) | quote }}
imagePullPolicy: {{ .Values.operator.image.pullPolicy | quote }}
resources:
  {{- toYaml .Values.operator.resources | nindent 2 }}
securityContext:
  {{- include "skymap-scanner.containerSecurity" . | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
{{- end }}

{{/* The container of the operator and of the hooks without its name and arguments. */}}
{{- define "skymap-scanner.operatorContainer" -}}
{{ include "skymap-scanner.operatorImage" . }}
env:
  {{- include "skymap-scanner.environment" . | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- range $name, $secret := include "skymap-scanner.pulsarSecrets" . | fromJson }}
  - name: pulsar-{{ $name }}
    mountPath: /pulsar/{{ $name }}
    readOnly: true
  {{- end }}
{{- end }}

{{/* The Secrets that are mounted into the operator, by content. */}}
{{- define "skymap-scanner.pulsarSecrets" -}}
{{- $given := dict }}
{{- range $name := list "token" "trusted" "certificate" }}
{{- with get $.Values.pulsar.operator (printf "%sSecret" $name) }}
{{- $_ := set $given $name . }}
{{- end }}
{{- end }}
{{- with include "skymap-scanner.signingSecret" . }}
{{- $_ := set $given "signing" . }}
{{- end }}
{{- toJson $given }}
{{- end }}

{{/* Fails for a list of exclusions alone, which would allow nothing: its name, its words, and the word for all. */}}
{{- define "skymap-scanner.checkExclusions" -}}
{{- $name := index . 0 }}
{{- $words := index . 1 }}
{{- $all := index . 2 }}
{{- $included := false }}
{{- range $words }}
{{- if not (hasPrefix "!" .) }}
{{- $included = true }}
{{- end }}
{{- end }}
{{- if and $words (not $included) }}
{{- fail (printf "settings.%s: only exclusions allow nothing: write %s" $name (prepend $words $all | toJson)) }}
{{- end }}
{{- end }}

{{/* Not empty if a name matches a list of patterns, as in skymap_operator/settings.py: the name and the list. */}}
{{- define "skymap-scanner.matches" -}}
{{- $name := index . 0 }}
{{- $included := false }}
{{- $excluded := false }}
{{- range index . 1 }}
{{- $pattern := trimPrefix "!" . | replace "." "\\." | replace "*" ".*" }}
{{- if regexMatch (printf "^%s$" $pattern) $name }}
{{- if hasPrefix "!" . }}
{{- $excluded = true }}
{{- else }}
{{- $included = true }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $included (not $excluded) }}true{{ end }}
{{- end }}

{{/* The ports of an entry of settings.notices as a JSON list. Addresses in a Secret have the usual port, and GCN has its
login there, too. */}}
{{- define "skymap-scanner.noticePorts" -}}
{{- $given := regexFind "//[^/]*" .to | regexFind ":[^]:]+$" | trimPrefix ":" }}
{{- $port := default "443" $given }}
{{- $digits := regexFind "[1-9][0-9]*" $port }}
{{- if or (not (regexMatch "^0*[1-9][0-9]{0,4}$" $port)) (gt (int $digits) 65535) }}
{{- fail (printf "settings.notices (%s).to: %s is no port" .name $given) }}
{{- end }}
{{- ternary (list 443 9092) (list (int $digits)) (hasPrefix "gcn" .to) | toJson }}
{{- end }}

{{/* The ports of a service or admin URL of Pulsar, which may list several hosts, as a JSON list. */}}
{{- define "skymap-scanner.pulsarPorts" -}}
{{- $usual := get (dict "pulsar" 6650 "pulsar+ssl" 6651 "http" 80 "https" 443) (splitList "://" . | first) }}
{{- $ports := list }}
{{- range regexFind "//[^/]*" . | trimPrefix "//" | splitList "," | compact }}
{{- $ports = append $ports (regexFind ":[0-9]+$" . | regexFind "[1-9][0-9]*" | default $usual | int) }}
{{- end }}
{{- toJson $ports }}
{{- end }}

{{/* The operator's settings: skymap_operator/settings.py. */}}
{{- define "skymap-scanner.environment" -}}
{{- $pulsar := .Values.pulsar -}}
{{- $given := dict
  "IMAGE" (include "skymap-scanner.image" (list . .Values.worker.image))
  "IMAGE_PULL_POLICY" .Values.worker.image.pullPolicy
  "PULSAR_SERVICE_URL" (include "skymap-scanner.pulsarServiceUrl" .)
  "PULSAR_ADMIN_URL" (include "skymap-scanner.pulsarAdminUrl" .)
  "PULSAR_TENANT" $pulsar.tenant
  "PULSAR_TOKEN_SECRET" $pulsar.tokenSecret
  "PULSAR_TOKEN_KEY" $pulsar.tokenKey
  "PULSAR_TLS_SECRET" $pulsar.tlsSecret
  "PULSAR_ROLE" $pulsar.role
  "PULSAR_PAGE_ROLE" (include "skymap-scanner.pageRole" .)
  "METRICS_OF_SCANS" .Values.metrics.scans
  "PULSAR_TOKEN_SECONDS" $pulsar.tokenSeconds
  "NAME" (include "skymap-scanner.operatorName" .)
  "NAMESPACES" (include "skymap-scanner.namespaces" . | fromJsonArray) -}}
{{- if and (or .Values.metrics.prometheusRule.enabled .Values.metrics.dashboard.enabled) (not .Values.metrics.scans) }}
{{- fail "metrics: alerts and dashboard need the figures of each scan: set metrics.scans to true" }}
{{- end }}
{{- with $pulsar.operator.tokenSecret }}
{{- $_ := set $given "PULSAR_TOKEN_FILE" (printf "/pulsar/token/%s" $pulsar.operator.tokenKey) }}
{{- end }}
{{- if include "skymap-scanner.signingSecret" . }}
{{- if or $pulsar.tokenSecret $pulsar.role }}
{{- $why := ternary "pulsar.operator.signingSecret" "pulsar.authentication" (not (empty $pulsar.operator.signingSecret)) }}
{{- fail (printf "%s gives each role of a scan a token of its own: leave out pulsar.tokenSecret and pulsar.role" $why) }}
{{- end }}
{{- $_ := set $given "PULSAR_OPERATOR_ROLE" $pulsar.operator.role }}
{{- $_ := set $given "PULSAR_SIGNING_KEY_FILE" (printf "/pulsar/signing/%s" (include "skymap-scanner.signingKey" .)) }}
{{- end }}
{{- with $pulsar.operator.trustedSecret }}
{{- $_ := set $given "PULSAR_TRUSTED_FILE" (printf "/pulsar/trusted/%s" $pulsar.operator.trustedKey) }}
{{- end }}
{{- with $pulsar.operator.certificateSecret }}
{{- $_ := set $given "PULSAR_CERTIFICATE_FILE" "/pulsar/certificate/tls.crt" }}
{{- $_ := set $given "PULSAR_KEY_FILE" "/pulsar/certificate/tls.key" }}
{{- end }}
{{- range $name, $words := omit .Values.settings.allowedInPods "affinity" "userIds" "groupIds" }}
{{- include "skymap-scanner.checkExclusions" (list (printf "allowedInPods.%s" $name) $words "*") }}
{{- end }}
{{- range $listed := .Values.settings.allowedPulsars }}
{{- range $name, $all := dict "tenants" "*" "secrets" "*" "namespaces" "*" "addresses" "public" }}
{{- include "skymap-scanner.checkExclusions" (list (printf "allowedPulsars.%s" $name) (get $listed $name | default list) $all) }}
{{- end }}
{{- end }}
{{- range .Values.settings.notices }}
{{- include "skymap-scanner.checkExclusions" (list (printf "notices (%s).namespaces" .name) (.namespaces | default list) "*") }}
{{- $_ := include "skymap-scanner.noticePorts" . }}
{{- end }}
{{- include "skymap-scanner.checkExclusions" (list "realtimeNamespaces" .Values.settings.realtimeNamespaces "*") }}
{{- include "skymap-scanner.checkExclusions" (list "eventAddresses" .Values.settings.eventAddresses "public") }}
{{- range $name, $value := .Values.settings }}
{{- $_ := set $given ($name | snakecase | upper) $value }}
{{- end }}
{{- range $name, $value := $given }}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "") (eq (toString $value) "[]")) }}
- name: SKYMAP_OPERATOR_{{ $name }}
  value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the evaluation Pulsar requires a token from every client. */}}
{{- define "skymap-scanner.authentication" -}}
{{- if and .Values.pulsar.evaluation .Values.pulsar.authentication -}}
true
{{- end }}
{{- end }}

{{/* Not empty, but a name, if the release has a Secret with the keys of the evaluation Pulsar. */}}
{{- define "skymap-scanner.ownKeys" -}}
{{- if and (include "skymap-scanner.authentication" .) (not .Values.pulsar.operator.signingSecret) -}}
{{ include "skymap-scanner.fullname" . }}-pulsar-keys
{{- end }}
{{- end }}

{{/* The Secret with the key that signs tokens, and the key's name there; empty where the operator signs none. */}}
{{- define "skymap-scanner.signingSecret" -}}
{{- default (include "skymap-scanner.ownKeys" .) .Values.pulsar.operator.signingSecret }}
{{- end }}
{{- define "skymap-scanner.signingKey" -}}
{{- ternary "key" .Values.pulsar.operator.signingKey (not (empty (include "skymap-scanner.ownKeys" .))) }}
{{- end }}

{{- define "skymap-scanner.pulsarServiceUrl" -}}
{{- if not .Values.pulsar.evaluation }}
{{- required "pulsar.evaluation is false: set pulsar.serviceUrl to the broker, pulsar://HOST:6650" .Values.pulsar.serviceUrl }}
{{- else if .Values.pulsar.serviceUrl }}
{{- fail "pulsar.serviceUrl is set: to use a Pulsar of your own, set pulsar.evaluation to false" }}
{{- else -}}
pulsar://{{ include "skymap-scanner.fullname" . }}-pulsar.{{ .Release.Namespace }}.svc:6650
{{- end }}
{{- end }}

{{- define "skymap-scanner.pulsarAdminUrl" -}}
{{- if not .Values.pulsar.evaluation }}
{{- required "pulsar.evaluation is false: set pulsar.adminUrl to the admin interface, http://HOST:8080" .Values.pulsar.adminUrl }}
{{- else if .Values.pulsar.adminUrl }}
{{- fail "pulsar.adminUrl is set: to use a Pulsar of your own, set pulsar.evaluation to false" }}
{{- else -}}
http://{{ include "skymap-scanner.fullname" . }}-pulsar.{{ .Release.Namespace }}.svc:8080
{{- end }}
{{- end }}
