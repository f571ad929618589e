{{/*
The pod of a component, the same hardening for all.
  root     the chart's context
  name     the Deployment's name
  component, pool   for labels
  cfg      the component's values
  program  file in /bin, run with `run`
  env      YAML list of its own settings
  ports    YAML list of its own ports, beside the admin port
  database key in the database Secret, or empty
  keys     names of the key files it may see
  token    whether it talks to the API server
*/}}
{{- define "parley.pod" -}}
metadata:
  annotations:
    kubectl.kubernetes.io/default-container: {{ .program }}
    {{- with .cfg.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "parley.podLabels" . | nindent 4 }}
    {{- with .cfg.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "parley.serviceAccountName" . }}
  automountServiceAccountToken: {{ .token }}
  # Service links would put PARLEY_…_PORT of every Service of the namespace among the settings.
  enableServiceLinks: false
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .cfg.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .cfg.terminationGracePeriodSeconds }}
  securityContext:
    {{- include "parley.podSecurity" . | nindent 4 }}
  {{- with .cfg.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .cfg.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .cfg.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- if .cfg.topologySpreadConstraints }}
    {{- toYaml .cfg.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    {{- $selector := include "parley.selector" . }}
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- $selector | nindent 10 }}
    {{- end }}
    {{- end }}
  containers:
    - name: {{ .program }}
      image: {{ include "parley.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [/bin/{{ .program }}, run]
      {{- with .cfg.extraArgs }}
      args:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      env:
        - {name: PARLEY_ADMIN_ADDR, value: "0.0.0.0:9090"}
        {{- include "parley.logEnv" .root | nindent 8 }}
        {{- with include "parley.tracingEnv" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- include "parley.kafkaEnv" . | trim | nindent 8 }}
        {{- if .database }}
        - {name: PARLEY_DATABASE_URL_FILE, value: /etc/parley/database/url}
        {{- with .cfg.databaseMaxConnections }}
        - {name: PARLEY_DATABASE_MAX_CONNECTIONS, value: {{ . | toString | quote }}}
        {{- end }}
        {{- end }}
        {{- range .keys }}
        - {name: {{ printf "PARLEY_%s_FILE" (. | trimSuffix ".json" | replace "-" "_" | upper | replace "SEAL_PUBLIC" "SEAL_PUBLIC_KEYS" | replace "SEAL_PRIVATE" "SEAL_PRIVATE_KEYS") }}, value: /etc/parley/keys/{{ . }}}
        {{- end }}
        {{- with .env }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .cfg.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with .cfg.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: admin, containerPort: 9090}
        {{- with .ports }}
        {{- . | nindent 8 }}
        {{- end }}
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 3
      {{- if .cfg.preStopSeconds }}
      lifecycle:
        preStop:
          sleep: {seconds: {{ .cfg.preStopSeconds }}}
      {{- end }}
      resources:
        {{- toYaml .cfg.resources | nindent 8 }}
      securityContext:
        {{- include "parley.containerSecurity" . | nindent 8 }}
      {{- $mounts := include "parley.mounts" . | trim }}
      {{- if or $mounts .cfg.extraVolumeMounts }}
      volumeMounts:
        {{- with $mounts }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- with .cfg.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
  {{- $volumes := include "parley.volumes" . | trim }}
  {{- if or $volumes .cfg.extraVolumes }}
  volumes:
    {{- with $volumes }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with .cfg.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end }}

{{/* What "restricted" pod security asks for, and a read-only root on top. */}}
{{- define "parley.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Group of the files from Secrets, which nobody else may read.
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "parley.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where spans go, which are made, and who makes them. The controller makes none. */}}
{{- define "parley.tracingEnv" -}}
{{- with .root.Values.tracing }}
{{- if and .endpoint (ne $.component "controller") }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_TRACES_SAMPLER, value: {{ .sampler }}}
{{- if ne (toString .samplerArg) "" }}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ toString .samplerArg | quote }}}
{{- end }}
- {name: OTEL_SERVICE_NAME, value: {{ $.name }}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name={{ $.root.Release.Namespace }},k8s.pod.name=$(POD_NAME),service.instance.id=$(POD_NAME)
{{- end }}
{{- end }}
{{- end }}

{{- define "parley.logEnv" -}}
- {name: PARLEY_LOG_FORMAT, value: {{ .Values.log.format }}}
- {name: PARLEY_LOG_LEVEL, value: {{ .Values.log.level | quote }}}
{{- end }}
