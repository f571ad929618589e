{{/* Settings and files from Secrets: each pod is given the keys that it needs, never the whole Secret. */}}

{{/* The Kafka Secret of a component, empty when the protocol needs none. {root, cfg} */}}
{{- define "parley.kafkaSecret" -}}
{{- $k := .root.Values.kafka }}
{{- if ne $k.securityProtocol "plaintext" -}}
{{ .cfg.kafkaSecret | default $k.existingSecret }}
{{- end }}
{{- end }}

{{/* Keys of that Secret that are mounted as files, key → file name, as YAML. */}}
{{- define "parley.kafkaFiles" -}}
{{- $k := .root.Values.kafka }}
{{- if has $k.securityProtocol (list "ssl" "sasl-ssl") }}
{{- with $k.caKey }}
{{ . }}: ca.crt
{{- end }}
{{- with $k.certKey }}
{{ . }}: tls.crt
{{- end }}
{{- with $k.privateKeyKey }}
{{ . }}: tls.key
{{- end }}
{{- end }}
{{- if hasPrefix "sasl" $k.securityProtocol }}
{{ $k.passwordKey }}: password
{{- end }}
{{- end }}

{{- define "parley.kafkaEnv" -}}
{{- $k := .root.Values.kafka }}
{{- $secret := include "parley.kafkaSecret" . }}
{{- $files := include "parley.kafkaFiles" . | fromYaml }}
{{- if and $files (not $secret) }}
{{- fail (printf "kafka.securityProtocol %s needs kafka.existingSecret (or kafkaSecret of each component)" $k.securityProtocol) }}
{{- end }}
{{- if ne (empty $k.certKey) (empty $k.privateKeyKey) }}
{{- fail "kafka.certKey and kafka.privateKeyKey belong together" }}
{{- end }}
{{- if and (not (hasSuffix "ssl" $k.securityProtocol)) (or $k.caKey $k.certKey) }}
{{- fail (printf "kafka.caKey and kafka.certKey have no use with kafka.securityProtocol %s: ssl or sasl-ssl" $k.securityProtocol) }}
{{- end }}
- {name: PARLEY_KAFKA_BOOTSTRAP_SERVERS, value: {{ $k.bootstrapServers | quote }}}
- {name: PARLEY_KAFKA_SECURITY_PROTOCOL, value: {{ $k.securityProtocol }}}
{{- if hasPrefix "sasl" $k.securityProtocol }}
- {name: PARLEY_KAFKA_SASL_MECHANISM, value: {{ $k.saslMechanism }}}
- name: PARLEY_KAFKA_USERNAME
  valueFrom: {secretKeyRef: {name: {{ $secret }}, key: {{ $k.usernameKey }}}}
{{- end }}
{{- $names := dict "ca.crt" "KAFKA_CA_FILE" "tls.crt" "KAFKA_CERT_FILE" "tls.key" "KAFKA_KEY_FILE" "password" "KAFKA_PASSWORD_FILE" }}
{{- if and (hasSuffix "ssl" $k.securityProtocol) (not $k.caKey) }}
# Named, because a static OpenSSL looks where its builder kept certificates.
- {name: PARLEY_KAFKA_CA_FILE, value: /etc/ssl/certs/ca-certificates.crt}
{{- end }}
{{- range $key, $file := $files }}
- {name: PARLEY_{{ get $names $file }}, value: /etc/parley/kafka/{{ $file }}}
{{- end }}
{{- end }}

{{- define "parley.mounts" -}}
{{- if include "parley.kafkaFiles" . | fromYaml }}
- {name: kafka, mountPath: /etc/parley/kafka, readOnly: true}
{{- end }}
{{- if .database }}
- {name: database, mountPath: /etc/parley/database, readOnly: true}
{{- end }}
{{- if .keys }}
- {name: keys, mountPath: /etc/parley/keys, readOnly: true}
{{- end }}
{{- end }}

{{- define "parley.volumes" -}}
{{- $files := include "parley.kafkaFiles" . | fromYaml }}
{{- if $files }}
- name: kafka
  secret:
    secretName: {{ include "parley.kafkaSecret" . }}
    defaultMode: 0440
    items:
      {{- range $key, $file := $files }}
      - {key: {{ $key }}, path: {{ $file }}}
      {{- end }}
{{- end }}
{{- if .database }}
- name: database
  secret:
    secretName: {{ .root.Values.database.existingSecret }}
    defaultMode: 0440
    items: [{key: {{ .database }}, path: url}]
{{- end }}
{{- if .keys }}
- name: keys
  secret:
    secretName: {{ .root.Values.keys.existingSecret }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- end }}
{{- end }}
