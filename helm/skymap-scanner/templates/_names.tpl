{{- define "skymap-scanner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, which leaves room for our longest suffix and for those that Kubernetes adds. */}}
{{- define "skymap-scanner.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if or (contains (include "skymap-scanner.name" .) .Release.Name) (contains .Release.Name (include "skymap-scanner.name" .)) }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "skymap-scanner.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The name of cluster-scoped objects: unique for releases of the same name in two namespaces. */}}
{{- define "skymap-scanner.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "skymap-scanner.fullname" .) }}
{{- end }}

{{/* The operator's Deployment as NAMESPACE/NAME: the name by which it holds its Leases. */}}
{{- define "skymap-scanner.operatorName" -}}
{{- printf "%s/%s-operator" .Release.Namespace (include "skymap-scanner.fullname" .) }}
{{- end }}

{{- define "skymap-scanner.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (printf "%s-operator" (include "skymap-scanner.fullname" .)) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.create is false: set serviceAccount.name to the operator's account" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The namespaces with scans as a JSON list; an empty list means the whole cluster. */}}
{{- define "skymap-scanner.namespaces" -}}
{{- if eq .Values.scope "namespaces" }}
{{- default (list .Release.Namespace) (.Values.namespaces | uniq) | toJson }}
{{- else if .Values.namespaces }}
{{- fail "namespaces are listed, but scope is cluster: set scope to namespaces, or list none" }}
{{- else }}
{{- list | toJson }}
{{- end }}
{{- end }}

{{/*
Not empty if the operator's account is limited by admission policies: wanted, and served by the cluster. Without a
cluster (helm template) nothing is known of it, not even v1/Pod, and the policies are rendered.
*/}}
{{- define "skymap-scanner.admissionPolicy" -}}
{{- $served := .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" }}
{{- if and .Values.admissionPolicy.enabled (or $served (not (.Capabilities.APIVersions.Has "v1/Pod"))) -}}
true
{{- end }}
{{- end }}

{{/* Labels that select the pods of a component: (list . COMPONENT). */}}
{{- define "skymap-scanner.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "skymap-scanner.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 | quote }}
{{- end }}

{{/* All labels of an object: (list . COMPONENT). */}}
{{- define "skymap-scanner.labels" -}}
{{- $root := index . 0 -}}
{{ include "skymap-scanner.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: skymap-scanner
app.kubernetes.io/managed-by: {{ $root.Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{/* An image: (list . IMAGE). The default tag is the chart's appVersion. With a digest the tag is for readers only. */}}
{{- define "skymap-scanner.image" -}}
{{- $image := index . 1 -}}
{{- printf "%s:%s" $image.repository (default (index . 0).Chart.AppVersion $image.tag) }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}
