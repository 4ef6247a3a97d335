{{/* The labels of every object; call with (list . "operator"). */}}
{{- define "vipkeeper.labels" -}}
{{- $root := index . 0 -}}
{{ include "vipkeeper.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: vipkeeper
{{- end }}

{{/* What never changes of them. */}}
{{- define "vipkeeper.selector" -}}
app.kubernetes.io/name: vipkeeper
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image; call with (list . .Values.agent.image). */}}
{{- define "vipkeeper.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := $image.repository -}}
{{- with $root.Values.image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The user name of the agents, as the API server sees it. */}}
{{- define "vipkeeper.agentUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:vipkeeper-agent
{{- end }}

{{/* What every container of the operator's image may do: nothing. */}}
{{- define "vipkeeper.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "vipkeeper.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What makes an object one of the uninstallation. */}}
{{- define "vipkeeper.teardownHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
