package config

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	c := usual()
	c.Target, c.Takeover = "deployment/worker", TakeoverScaleDown
	facts := Facts{Target: "deployment/worker", Namespace: "shop", Container: "app", Replicas: 3}
	const plain = "A stand-in is made in namespace shop, a copy of the pod of deployment/worker, in which understudy takes the place of its container app. " +
		"Then three pods of deployment/worker will be scaled to zero, and when none runs any more your process starts: every message of its queue comes to you. " +
		"Your process gets the environment of the container over your own, but for what makes no sense here (PATH, HOME and the like). " +
		"It reads the container's files; this machine's are its system, your home, working directory and programs. The container's files cannot be written. " +
		"Its connections go out from the pod's network. Names are looked up as in the pod. " +
		"Connections that come in to ports that the container declares, its probes use or a Service targets reach it where it listens. " +
		"When your process ends, however it ends, deployment/worker has three replicas again. " +
		"When this machine is not heard of for 1m0s, the cluster undoes everything by itself."
	if got := c.Explain(facts); got != plain {
		t.Errorf("got  %s\nwant %s", got, plain)
	}
	c.Takeover = TakeoverCopy
	c.ExcludeContainers = []string{"proxy", "logs"}
	c.Env = Env{Include: []string{"DB_*"}, Mapping: map[string]string{"_URL$": "x"}, File: "dev.env", Override: map[string]string{"B": "", "A": ""}, Unset: []string{"C"}}
	c.Files = Files{Mode: FilesLocal}
	c.Outgoing = Outgoing{TCP: true, IgnoreLocalhost: true, Filter: Filter{Local: []string{"db:5432"}}}
	c.Names = Names{Enabled: true, Filter: Filter{Remote: []string{"db"}}}
	c.Hostname = false
	c.Incoming = Incoming{Mode: IncomingSteal, IgnorePorts: []uint16{9}, PortMapping: []PortPair{{3000, 80}}, ListenPorts: []PortPair{{80, 8080}}}
	const rich = "A stand-in is made in the kubeconfig's namespace, a copy of the pod of deployment/worker (without proxy and logs), in which understudy takes the place of its container. " +
		"All pods of deployment/worker go on running: they and your process share the messages of its queue. " +
		"Your process gets, over your own environment, of the container's only DB_*, with other values for names like _URL$, with the variables of the file dev.env, with A and B as the configuration says, without C. " +
		"All its files are this machine's. " +
		"Its connections go out from the pod's network, but those to db:5432 from this machine. UDP goes out from this machine. 127.0.0.1 is this machine's. " +
		"Of names db are looked up as in the pod, all others on this machine. Its hostname is this machine's. " +
		"Connections that come to the stand-in itself to ports that the container declares, its probes use or a Service targets, except 9, reach it where it listens; no Service leads there. " +
		"It listens on 3000 for those to 80. Its port 80 is at 127.0.0.1:8080 of this machine. " +
		"When your process ends, the stand-in goes. When this machine is not heard of for 1m0s, the cluster undoes everything by itself."
	if got := c.Explain(Facts{}); got != rich {
		t.Errorf("got  %s\nwant %s", got, rich)
	}
	c.Files = Files{Mode: FilesRead, ReadOnly: []string{"^/etc/app/"}, Local: []string{`\.log$`}, NotFound: []string{"^/app/dev/"}, Mapping: map[string]string{"^/in": "/data"}}
	const files = " It reads the container's files; this machine's are its system, your home, working directory and programs, and paths like ^/etc/app/ are the container's all the same. " +
		`Paths like \.log$ are this machine's. Paths like ^/in lead to others. Paths like ^/app/dev/ are not found. The container's files cannot be written. `
	if got := c.Explain(Facts{}); !strings.Contains(got, files) {
		t.Errorf("got  %s\nwant %s", got, files)
	}
	for _, test := range []struct {
		files Files
		want  string
	}{
		{Files{Mode: FilesWrite, ReadOnly: []string{"^/app/"}}, " It writes the container's files too, as the container could, but not those like ^/app/. What is on no volume is gone with the stand-in. "},
		{Files{Mode: FilesLocalWithOverrides, ReadWrite: []string{"^/data/"}},
			" Its files are this machine's, but paths like ^/data/ are the container's. Of the container's files it may write those like ^/data/, as the container could. What is on no volume is gone with the stand-in. "},
	} {
		if c.Files = test.files; !strings.Contains(c.Explain(Facts{}), test.want) {
			t.Errorf("got  %s\nwant %s", c.Explain(Facts{}), test.want)
		}
	}
	c = usual()
	c.Target, c.Takeover = "pod/w", TakeoverFreeze
	const frozen = "The container of pod/w in the kubeconfig's namespace is frozen where it stands, and goes on when your process ends. "
	if got := c.Explain(Facts{}); !strings.HasPrefix(got, frozen+"Its connections are cut, so that a broker gives to others what it had delivered there. ") {
		t.Errorf("got  %s", got)
	}
	c.ReleaseConnections = false
	if got := c.Explain(Facts{}); !strings.HasPrefix(got, frozen+"Its connections stay open, and a broker keeps what it had delivered there. ") {
		t.Errorf("got  %s", got)
	}
	c = usual()
	c.Target, c.Takeover, c.Paused = "deployment/worker", TakeoverFreeze, true
	const paused = "If deployment/worker has one pod in the kubeconfig's namespace, its container is frozen where it stands, and goes on when your process ends; " +
		"if it has several, all of them are held at zero and a copy stands in. "
	if got := c.Explain(Facts{}); !strings.HasPrefix(got, paused) {
		t.Errorf("got  %s\nwant %s", got, paused)
	}
	c = usual()
	c.Target = "deployment/worker"
	for target, want := range map[string]string{
		"deployment/worker": "An agent on its node attaches to one pod of deployment/worker in namespace shop, which goes on running, and goes on taking messages from its queue. ",
		"pod/worker-x":      "An agent on its node attaches to pod/worker-x in namespace shop, which goes on running, and goes on taking messages from its queue. ",
	} {
		got := c.Explain(Facts{Target: target, Namespace: "shop", Container: "app", Replicas: 3})
		for _, want := range []string{
			want, " New connections to that pod to ports that the container declares, its probes use or a Service targets reach it where it listens, and not the pod's own process. ",
			" When your process ends, the agent goes, and the pod has all of its ports again. When this machine",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("got  %s\nwithout %s", got, want)
			}
		}
	}
	c = usual()
	c.Outgoing.Filter = Filter{Remote: []string{"db:5432"}}
	const nothing = "No workload is touched: an empty pod is made in namespace shop, of understudy's own image, with nobody's account and no volumes. " +
		"Your process gets your own environment, and of the pod's what Kubernetes gives to every one; all its files are this machine's. " +
		"Its connections to db:5432 go out from the pod's network, all others from this machine. Names are looked up as in the pod. " +
		"No connection of the cluster comes to it. When your process ends, or this machine is not heard of for 1m0s, the pod goes."
	if got := c.Explain(Facts{Namespace: "shop"}); got != nothing {
		t.Errorf("got  %s\nwant %s", got, nothing)
	}
}

// TestExplainAll: what is asked for of the traffic and of the turn is in the paragraph.
func TestExplainAll(t *testing.T) {
	for args, want := range map[string]string{
		"-t pod/w --listen 9229": "New connections to that pod to 9229 and ports that the container declares, its probes use or a Service targets reach it",
		"-t deployment/w --copy-target --scale-down --listen 9229 --listen 4000": "Connections that come in to 9229, 4000 and ports that the container declares, its",
		"-t deployment/w --copy-target --scale-down --listen all":                "Connections that come in to any port reach it",
		"-t targetless --listen 9229":                                            "Connections to 9229 of the pod's own address come to it where it listens; no Service leads there.",
		"-t targetless --listen all":                                             "Connections to any port of the pod's own address come to it where it listens; no Service leads there.",
		"-t deployment/w --copy-target --scale-down --wait":                      "Whoever holds deployment/w is waited for, and so is who waits already.",
		"-t deployment/w --pause --wait":                                         "Whoever holds deployment/w is waited for, and so is who waits already.",
		"-t deployment/w --copy-target --share-traffic":                          "Of the connections that come in to ports that the container declares, its probes use or a Service targets the stand-in gets a share, and they reach it where it listens; the others go to deployment/w.",
	} {
		c, err := setup{args: strings.Fields(args)}.read(t)
		if err != nil {
			t.Errorf("%s: %v", args, err)
		}
		if got := c.Explain(Facts{}); !strings.Contains(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", args, got, want)
		}
	}
	c := usual()
	c.Target = "pod/w"
	if got := c.Explain(Facts{}); strings.Contains(got, "waited for") {
		t.Errorf("nobody asked to wait: %s", got)
	}
}
