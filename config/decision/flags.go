package decision

// What flags are about, in the order of the help.
const (
	GroupTarget   = "What to stand in for"
	groupTakeover = "What happens to it"
	groupNetwork  = "Network"
	groupFiles    = "Environment and files"
	GroupRun      = "This run"
)

// Groups are what flags are about, in the order of the help.
var Groups = []string{GroupTarget, groupTakeover, groupNetwork, groupFiles, GroupRun}

// Flags are the flags of exec, understudy's own and the other tool's.
var Flags = []Row{
	{Name: "target", Group: GroupTarget, Short: "t", Verdict: Supported, To: []string{"target.path"}, Text: "workload to stand in for: deployment/NAME[/container/CONTAINER], pod/NAME, or another kind of workload"},
	{Name: "target-namespace", Group: GroupTarget, Short: "n", Verdict: Supported, To: []string{"target.namespace"}, Text: "namespace of the target, --namespace too (default: the kubeconfig's)"},
	{Name: "context", Group: GroupTarget, Verdict: Supported, To: []string{"kube_context"}, Text: "context of the kubeconfig (default: the current one)"},
	{Name: "kubeconfig", Group: GroupTarget, Own: true, Verdict: Supported, To: []string{"kubeconfig"}, Text: "kubeconfig file (default: $KUBECONFIG, then ~/.kube/config)"},
	{Name: "accept-invalid-certificates", Group: GroupTarget, Short: "c", Switch: true, Verdict: Supported, To: []string{"accept_invalid_certificates"}, Text: "do not verify the API server's certificate"},

	{Name: "copy-target", Group: groupTakeover, Own: true, Switch: true, Verdict: Supported, To: []string{"feature.copy_target.enabled"}, Text: "run in a copy of the target's pod, the stand-in"},
	{Name: "scale-down", Group: groupTakeover, Own: true, Switch: true, Verdict: Supported, To: []string{"feature.copy_target.scale_down"}, Text: "hold the target at 0 replicas meanwhile; the same number comes back at the end"},
	{Name: "wait", Group: groupTakeover, Own: true, Switch: true, Verdict: Supported, To: []string{"wait"}, Text: "queue behind whoever holds the target, in the order of arrival (with --scale-down)"},
	{Name: "restart-ok", Group: groupTakeover, Own: true, Switch: true, Verdict: Supported, To: []string{"restart_ok"}, Text: "hold a Job too, whose pods begin again from the start afterwards"},
	{Name: "pause", Group: groupTakeover, Short: "p", Switch: true, Verdict: Supported, To: []string{"pause"}, Text: "freeze the target's container meanwhile, where it has one pod; else hold it at zero"},
	{Name: "paws", Group: groupTakeover, Switch: true, Verdict: Mapped, To: []string{"pause"}, Text: "the same as --pause"},
	{Name: "keep-connections", Group: groupTakeover, Own: true, Switch: true, Value: "false", Verdict: Supported, To: []string{"release_connections"}, Text: "leave the connections of what is frozen open: a broker keeps what it had delivered there (with --pause)"},
	{Name: "share-traffic", Group: groupTakeover, Own: true, Switch: true, Verdict: Supported, To: []string{"share_traffic"}, Text: "let the stand-in take a share of the traffic beside the target (without --scale-down)"},
	{Name: "listen", Group: groupNetwork, Own: true, Verdict: Supported, To: []string{"listen"}, Text: "port that may be opened in the cluster though the container does not declare it, or all; repeatable"},
	{Name: "lease", Group: groupTakeover, Own: true, Verdict: Supported, To: []string{"lease"}, Text: "how long the cluster waits for this machine before it undoes everything by itself"},
	{Name: "setup-timeout", Group: groupTakeover, Own: true, Verdict: Supported, To: []string{"setup_timeout"}, Text: "how long everything may take to be ready before it is undone, a pulled image included"},
	{Name: "no-operator", Group: groupTakeover, Own: true, Switch: true, Value: "false", Verdict: Supported, To: []string{"operator"}, Text: "freeze with your own rights, though there may be an operator (with --pause)"},
	{Name: "agent-namespace", Group: groupTakeover, Short: "a", Verdict: Supported, To: []string{"agent.namespace"}, Text: "namespace for the agent that freezes where no operator makes it; it has to allow privileged pods (default: the target's)"},
	{Name: "agent-image", Group: groupTakeover, Short: "i", Verdict: Supported, To: []string{"agent_image"}, Text: "image of that agent: understudy's own, by default that of this release"},

	{Name: "steal", Group: groupNetwork, Switch: true, Value: "steal", Verdict: Supported, To: []string{"feature.network.incoming.mode"}, Text: "take the target's incoming connections (what is done anyway)"},
	{Name: "no-outgoing", Group: groupNetwork, Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.outgoing.tcp", "feature.network.outgoing.udp"}, Text: "connections go out from this machine"},
	{Name: "no-tcp-outgoing", Group: groupNetwork, Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.outgoing.tcp"}, Text: "TCP connections go out from this machine"},
	{Name: "no-udp-outgoing", Group: groupNetwork, Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.outgoing.udp"}, Text: "UDP goes out from this machine"},
	{Name: "no-remote-dns", Group: groupNetwork, Switch: true, Value: "false", Verdict: Supported, To: []string{"feature.network.dns.enabled"}, Text: "names are looked up as on this machine"},
	{Name: "fs-mode", Group: groupFiles, Verdict: Supported, To: []string{"feature.fs.mode"}, Text: "read: files of the container are read, but for this machine's system and your own; write: and written; local: all files are this machine's"},
	{Name: "override-env-vars-include", Group: groupFiles, Short: "s", Verdict: Supported, To: []string{"feature.env.include"}, Text: "the only variables of the container that are taken: names with * and ?, joined with ;"},
	{Name: "override-env-vars-exclude", Group: groupFiles, Short: "x", Verdict: Supported, To: []string{"feature.env.exclude"}, Text: "variables of the container that are left out: names with * and ?, joined with ;"},
	{Name: "env-file", Group: groupFiles, Verdict: Supported, To: []string{"feature.env.env_file"}, Text: "file of NAME=value lines whose variables win over the container's"},
	{Name: "config-file", Group: GroupRun, Short: "f", Verdict: Supported, Text: "configuration file (default: the nearest .understudy/understudy.* or .mirrord/mirrord.*); none for none"},
	{Name: "key", Group: GroupRun, Verdict: Supported, To: []string{"key"}, Text: "the session's name in templates of the file, {{ key }}"},
	{Name: "verbose", Group: GroupRun, Short: "v", Own: true, Switch: true, Verdict: Supported, To: []string{"verbose"}, Text: "show details"},
	{Name: "progress", Group: GroupRun, Own: true, Verdict: Supported, To: []string{"progress"}, Text: "how this run shows what it does: auto, tty, plain, json or quiet; always on stderr"},

	ignored("agent-log-level", "l", false, "agent.log_level"),
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
