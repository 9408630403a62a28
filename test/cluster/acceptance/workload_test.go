package acceptance

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// service asks by name from every pod until each of the three, on both nodes, has answered.
func (s suite) service(t *testing.T) {
	pods := strings.Fields(s.kubectl(t, "get", "pods", "-l", "app=answer", "-o", "name"))
	nodes := map[string]bool{}
	for node := range strings.FieldsSeq(s.kubectl(t, "get", "pods", "-l", "app=answer", "-o", "jsonpath={.items[*].spec.nodeName}")) {
		nodes[node] = true
	}
	if len(pods) != 3 || len(nodes) != 2 {
		t.Fatalf("%d pods on %d nodes, want 3 on 2", len(pods), len(nodes))
	}
	for _, from := range pods {
		answered := map[string]bool{}
		var last error
		// A node learns of a Service's pods a moment after they are ready.
		for deadline := time.Now().Add(30 * time.Second); len(answered) < 3 && time.Now().Before(deadline); {
			said, err := s.try(t, "exec", from, "--", "/answer", "get", "http://answer.default.svc.cluster.local")
			if err != nil {
				last = fmt.Errorf("%w: %s", err, said)
				continue
			}
			answered[said] = true
		}
		if len(answered) != 3 {
			t.Errorf("%s got answers from %v only; last error: %v", from, answered, last)
		}
	}
	if said, err := s.try(t, "exec", pods[0], "--", "/answer", "lookup", "no.such.name.example"); err == nil || !strings.Contains(said, "no such host") {
		t.Errorf("an unknown name: %q (error %v), want no such host", said, err)
	}
}

func (s suite) imageVolume(t *testing.T) {
	s.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Namespace
metadata: {name: strict, labels: {pod-security.kubernetes.io/enforce: restricted}}
---
apiVersion: v1
kind: Pod
metadata: {name: guest, namespace: strict}
spec:
  terminationGracePeriodSeconds: 0
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 4711, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: guest
    image: %s
    imagePullPolicy: Never
    command: [/tool/bin/tool]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: tool, mountPath: /tool}]
  volumes:
  - {name: tool, image: {reference: %q, pullPolicy: Never}}
`, answerImage, toolImage))
	s.kubectl(t, "wait", "-n", "strict", "pod/guest", "--for=condition=Ready", "--timeout=60s")
	if said, err := s.try(t, "run", "-n", "strict", "rude", "--image="+answerImage); err == nil {
		t.Errorf("a pod that is not restricted was admitted: %s", said)
	}
}

func (s suite) portForward(t *testing.T) {
	command := exec.CommandContext(t.Context(), s.layout.Program("kubectl"), "port-forward", "deployment/answer", ":8080")
	command.Env = append(os.Environ(), "KUBECONFIG="+s.layout.Kubeconfig())
	var errors bytes.Buffer
	command.Stderr = &errors
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, &errors)
	}
	address, _, _ := strings.Cut(strings.TrimPrefix(line, "Forwarding from "), " ")
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasPrefix(string(content), "answer-") {
		t.Errorf("answer %q, error %v", content, err)
	}
}

// policies sees that both kinds of admission policy do their work.
func (s suite) policies(t *testing.T) {
	s.apply(t, `
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: marks}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]}
  matchConditions: [{name: named, expression: "object.metadata.name.startsWith('policy-')"}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'marked': 'yes'}}}"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: marks}
spec: {policyName: marks}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: refuses}
spec:
  failurePolicy: Fail
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]}
  matchConditions: [{name: named, expression: "object.metadata.name == 'policy-refused'"}]
  validations: [{expression: "authorizer.group('apps').resource('deployments').namespace(request.namespace).name('x').check('takeover').allowed() == false", message: "refused by policy"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: refuses}
spec: {policyName: refuses, validationActions: [Deny]}
`)
	// A policy takes hold a moment after it was written.
	deadline := time.Now().Add(30 * time.Second)
	for try := 0; ; try++ {
		said, refused := s.try(t, "create", "configmap", "policy-refused", "--dry-run=server")
		marked, err := s.try(t, "create", "configmap", "policy-marked", "--dry-run=server", "-o", "jsonpath={.metadata.labels.marked}")
		if refused != nil && strings.Contains(said, "refused by policy") && err == nil && marked == "yes" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("refused: %q (%v); marked: %q (%v)", said, refused, marked, err)
		}
	}
}
