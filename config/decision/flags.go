package decision

// Flags are the flags of exec, understudy's own and the other tool's.
var Flags = []Row{
	{Name: "target", Short: "t", Verdict: Supported, To: []string{"target.path"}, Text: "workload to stand in for: deployment/NAME[/container/CONTAINER], pod/NAME, or another kind of workload"},
	{Name: "target-namespace", Short: "n", Verdict: Supported, To: []string{"target.namespace"}, Text: "namespace of the target (default: the kubeconfig's)"},
	{Name: "context", Verdict: Supported, To: []string{"kube_context"}, Text: "context of the kubeconfig (default: the current one)"},
	{Name: "kubeconfig", Own: true, Verdict: Supported, To: []string{"kubeconfig"}, Text: "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)"},
	{Name: "accept-invalid-certificates", Short: "c", Switch: true, Verdict: Supported, To: []string{"accept_invalid_certificates"}, Text: "do not verify the API server's certificate"},

	{Name: "copy-target", Own: true, Switch: true, Verdict: Supported, To: []string{"feature.copy_target.enabled"}, Text: "run in a copy of the target's pod, the stand-in"},
	{Name: "scale-down", Own: true, Switch: true, Verdict: Supported, To: []string{"feature.copy_target.scale_down"}, Text: "hold the target at 0 replicas meanwhile; the same number comes back at the end"},
	{Name: "restart-ok", Own: true, Switch: true, Verdict: Supported, To: []string{"restart_ok"}, Text: "hold a Job too, whose pods begin again from the start afterwards"},
	{Name: "pause", Short: "p", Switch: true, Verdict: Supported, To: []string{"pause"}, Text: "freeze the target's container meanwhile (does not work yet)"},
	{Name: "paws", Switch: true, Verdict: Mapped, To: []string{"pause"}, Text: "the same as --pause"},
	{Name: "share-traffic", Own: true, Switch: true, Verdict: Supported, To: []string{"share_traffic"}, Text: "let the stand-in take a share of the traffic beside the target (without --scale-down)"},
	{Name: "listen", Own: true, Verdict: Supported, To: []string{"listen"}, Text: "port that may be opened in the cluster though the container does not declare it, or all; repeatable"},
	{Name: "lease", Own: true, Verdict: Supported, To: []string{"lease"}, Text: "how long the cluster waits for this machine before it undoes everything by itself"},
	{Name: "setup-timeout", Own: true, Verdict: Supported, To: []string{"setup_timeout"}, Text: "how long everything may take to be ready before it is undone, a pulled image included"},

	{Name: "steal", Switch: true, Value: "steal", Verdict: Supported, To: []string{"feature.network.incoming.mode"}, Text: "take the target's incoming connections (what is done anyway)"},
	{Name: "no-outgoing", Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.outgoing.tcp", "feature.network.outgoing.udp"}, Text: "connections go out from this machine"},
	{Name: "no-tcp-outgoing", Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.outgoing.tcp"}, Text: "TCP connections go out from this machine"},
	{Name: "no-udp-outgoing", Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.outgoing.udp"}, Text: "UDP goes out from this machine"},
	{Name: "no-remote-dns", Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.dns.enabled"}, Text: "names are looked up as on this machine"},
	{Name: "fs-mode", Verdict: Supported, To: []string{"feature.fs.mode"}, Text: "read: the container's mounted config maps, secrets and tokens are here; local: all files are this machine's"},
	{Name: "override-env-vars-include", Short: "s", Verdict: Supported, To: []string{"feature.env.include"}, Text: "the only variables of the container that are taken: names with * and ?, joined with ;"},
	{Name: "override-env-vars-exclude", Short: "x", Verdict: Supported, To: []string{"feature.env.exclude"}, Text: "variables of the container that are left out: names with * and ?, joined with ;"},
	{Name: "env-file", Verdict: Supported, To: []string{"feature.env.env_file"}, Text: "file of NAME=value lines whose variables win over the container's"},
	{Name: "key", Verdict: Supported, To: []string{"key"}, Text: "the session's name in templates of the file, {{ key }}"},
	{Name: "config-file", Short: "f", Verdict: Supported, Text: "configuration file (default: the nearest .understudy/understudy.* or .mirrord/mirrord.*); none for none"},
	{Name: "verbose", Short: "v", Own: true, Switch: true, Verdict: Supported, To: []string{"verbose"}, Text: "show details"},

	ignored("agent-namespace", "a", false, "agent.namespace"),
	ignored("agent-log-level", "l", false, "agent.log_level"),
	ignored("agent-image", "i", false, "agent.image"),
	ignored("agent-ttl", "", false, "agent.ttl"),
	{Name: "agent-startup-timeout", Verdict: Mapped, To: []string{"setup_timeout"}, Text: "in seconds; the same as --setup-timeout"},
	ignored("ephemeral-container", "e", true, "agent.ephemeral"),
	ignored("skip-processes", "", false, "skip_processes"),
	ignored("no-telemetry", "", true, "telemetry"),
	{Name: "disable-version-check", Switch: true, Verdict: Meaningless, Text: "nobody is asked for newer versions"},
}

// ignored is a flag that says what a key without meaning says.
func ignored(name, short string, without bool, key string) Row {
	return Row{Name: name, Short: short, Switch: without, Verdict: Meaningless, To: []string{key}, Text: Key(key).Text}
}
