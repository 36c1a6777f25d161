{{- define "skymap-scanner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters, so that the longest ending of ours, and what Kubernetes adds to it, still fit. */}}
{{- define "skymap-scanner.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if or (contains (include "skymap-scanner.name" .) .Release.Name) (contains .Release.Name (include "skymap-scanner.name" .)) }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "skymap-scanner.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* For objects that belong to no namespace: releases of one name in two namespaces do not meet. */}}
{{- define "skymap-scanner.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "skymap-scanner.fullname" .) }}
{{- end }}

{{- define "skymap-scanner.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (printf "%s-operator" (include "skymap-scanner.fullname" .)) .Values.serviceAccount.name }}
{{- else }}
{{- required "without serviceAccount.create, serviceAccount.name must say which account the operator has" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* The namespaces that are looked after, as a JSON list; none for the whole cluster. */}}
{{- define "skymap-scanner.namespaces" -}}
{{- if eq .Values.scope "namespaces" }}
{{- default (list .Release.Namespace) (.Values.namespaces | uniq) | toJson }}
{{- else if .Values.namespaces }}
{{- fail "namespaces are listed, but scope is cluster: set scope to namespaces, or list none" }}
{{- else }}
{{- list | toJson }}
{{- end }}
{{- end }}

{{/* Labels that select the pods of a component: (list . COMPONENT). */}}
{{- define "skymap-scanner.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "skymap-scanner.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* All labels of an object: (list . COMPONENT). */}}
{{- define "skymap-scanner.labels" -}}
{{- $root := index . 0 -}}
{{ include "skymap-scanner.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: skymap-scanner
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* An image: (list . IMAGE), its tag the chart's appVersion where none is given. */}}
{{- define "skymap-scanner.image" -}}
{{- $image := index . 1 -}}
{{- printf "%s:%s" $image.repository (default (index . 0).Chart.AppVersion $image.tag) }}
{{- end }}
