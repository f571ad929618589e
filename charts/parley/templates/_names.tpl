{{/* Names and labels. */}}

{{- define "parley.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Prefix of all object names; cut so that "-worker-" and a pool's name still fit a label. */}}
{{- define "parley.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := include "parley.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Cluster-scoped objects carry the namespace too: releases of one name may live in several. */}}
{{- define "parley.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "parley.fullname" .) }}
{{- end }}

{{- define "parley.selector" -}}
app.kubernetes.io/name: {{ include "parley.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .pool }}
parley.dev/pool: {{ . }}
{{- end }}
{{- end }}

{{- define "parley.labels" -}}
{{ include "parley.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: parley
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Without versions: an upgrade of the chart alone must not restart pods. */}}
{{- define "parley.podLabels" -}}
{{ include "parley.selector" . }}
app.kubernetes.io/part-of: parley
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "parley.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* The account of a component: {name, cfg} */}}
{{- define "parley.serviceAccountName" -}}
{{- if .cfg.serviceAccount.create -}}
{{ .cfg.serviceAccount.name | default .name }}
{{- else -}}
{{ .cfg.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* A pool's settings: the defaults with the pool's own on top. {root, pool}.
     By hand and not with merge: that one takes false, 0 and "" for "not set". */}}
{{- define "parley.pool" -}}
{{- $cfg := deepCopy .root.Values.workerDefaults }}
{{- range $key, $value := index .root.Values.workers .pool }}
  {{- if and (kindIs "map" $value) (hasKey $cfg $key) (has $key (list "pdb" "resources" "serviceAccount")) }}
    {{- $inner := get $cfg $key }}
    {{- range $k, $v := $value }}{{- $_ := set $inner $k $v }}{{- end }}
  {{- else }}
    {{- $_ := set $cfg $key $value }}
  {{- end }}
{{- end }}
{{- toYaml $cfg }}
{{- end }}
