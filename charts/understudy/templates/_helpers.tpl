{{/*
Labels of everything; call with (list . "component").
*/}}
{{- define "understudy.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_") }}
{{ include "understudy.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: understudy
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{/*
The labels that select pods, which never change between versions.
*/}}
{{- define "understudy.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: understudy
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/*
An image reference; call with (list . imageValues).
*/}}
{{- define "understudy.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
The name by which the API server knows the operator.
*/}}
{{- define "understudy.operatorUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:understudy-operator
{{- end }}

{{/*
What the restricted Pod Security level asks of a container, and no writable root.
*/}}
{{- define "understudy.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "understudy.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
The version to make MutatingAdmissionPolicies in, empty for none: v1 from
Kubernetes 1.36 on, v1beta1 where the cluster's owner has switched it on.
*/}}
{{- define "understudy.holdGateVersion" -}}
{{- if ne .Values.holdGate.mode "off" -}}
{{- if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
admissionregistration.k8s.io/v1
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy" -}}
admissionregistration.k8s.io/v1beta1
{{- else if eq .Values.holdGate.mode "on" -}}
{{- fail "holdGate.mode is \"on\", but this API server has no MutatingAdmissionPolicy (Kubernetes 1.36 has): use \"auto\" or \"off\"" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
A label selector as one CEL expression over `variables.namespaceLabels`.
*/}}
{{- define "understudy.selectorExpression" -}}
{{- $terms := list -}}
{{- range $key, $value := .matchLabels -}}
{{- $terms = append $terms (printf "(%s in variables.namespaceLabels && variables.namespaceLabels[%s] == %s)" ($key | toJson) ($key | toJson) ($value | toJson)) -}}
{{- end -}}
{{- range .matchExpressions -}}
{{- $key := .key | toJson -}}
{{- $values := .values | default list | toJson -}}
{{- if eq .operator "In" -}}
{{- $terms = append $terms (printf "(%s in variables.namespaceLabels && variables.namespaceLabels[%s] in %s)" $key $key $values) -}}
{{- else if eq .operator "NotIn" -}}
{{- $terms = append $terms (printf "!(%s in variables.namespaceLabels && variables.namespaceLabels[%s] in %s)" $key $key $values) -}}
{{- else if eq .operator "Exists" -}}
{{- $terms = append $terms (printf "%s in variables.namespaceLabels" $key) -}}
{{- else -}}
{{- $terms = append $terms (printf "!(%s in variables.namespaceLabels)" $key) -}}
{{- end -}}
{{- end -}}
{{ $terms | join " && " }}
{{- end }}

{{/*
What the operator has rights on beside Kubernetes' own workloads, for who plans.
*/}}
{{- define "understudy.workloads" -}}
{{- $all := list }}
{{- if .Values.workloads.argoRollouts }}{{ $all = append $all "rollouts.argoproj.io" }}{{ end }}
{{- if .Values.workloads.keda }}{{ $all = concat $all (list "scaledobjects.keda.sh" "scaledjobs.keda.sh") }}{{ end }}
{{- range .Values.workloads.custom }}{{ $all = append $all (printf "%s.%s" .resource .group) }}{{ end }}
{{- join "," $all }}
{{- end }}

{{/*
The right to take over each kind of workload that this installation knows.
*/}}
{{- define "understudy.takeoverRules" -}}
- apiGroups: [apps]
  resources: [deployments, statefulsets, replicasets, daemonsets]
  verbs: [takeover]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [takeover]
- apiGroups: [""]
  resources: [pods]
  verbs: [takeover, targetless]
{{- if .Values.workloads.argoRollouts }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [takeover]
{{- end }}
{{- if .Values.workloads.keda }}
- apiGroups: [keda.sh]
  resources: [scaledjobs]
  verbs: [takeover]
{{- end }}
{{- range .Values.workloads.custom }}
- apiGroups: [{{ .group }}]
  resources: [{{ .resource }}]
  verbs: [takeover]
{{- end }}
{{- end }}

{{/*
The right to look at them.
*/}}
{{- define "understudy.lookRules" -}}
- apiGroups: [apps]
  resources: [deployments, statefulsets, replicasets, daemonsets]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch]
{{- if .Values.workloads.argoRollouts }}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [get, list, watch]
{{- end }}
{{- if .Values.workloads.keda }}
- apiGroups: [keda.sh]
  resources: [scaledjobs]
  verbs: [get, list, watch]
{{- end }}
{{- range .Values.workloads.custom }}
- apiGroups: [{{ .group }}]
  resources: [{{ .resource }}]
  verbs: [get, list, watch]
{{- end }}
{{- end }}

{{- define "understudy.planRules" -}}
- apiGroups: [""]
  resources: [resourcequotas, limitranges, persistentvolumeclaims]
  verbs: [list]
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
{{- if .Values.workloads.keda }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list]
{{- end }}
{{- end }}
