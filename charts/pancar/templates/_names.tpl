{{/* All names, labels and addresses that more than one template uses. */}}

{{- define "pancar.name" -}}
{{- if contains "pancar" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-pancar" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "pancar.operator" -}}
{{ include "pancar.name" . }}-operator
{{- end }}

{{- define "pancar.selector" -}}
app.kubernetes.io/name: pancar-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pancar.labels" -}}
{{ include "pancar.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: pancar
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Takes a list: the image's values, and the chart's root. */}}
{{- define "pancar.image" -}}
{{- $image := index . 0 }}{{ $image.repository }}:{{ $image.tag | default (index . 1).Chart.AppVersion }}
{{- end }}

{{- define "pancar.defaultPool" -}}
{{ .Values.operator.defaultPool | default (printf "%s/default" .Release.Namespace) }}
{{- end }}
