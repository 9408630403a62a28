package decision

// Variables are the other tool's variables of the environment. Understudy's
// own are named after the flags: --target-namespace is
// UNDERSTUDY_TARGET_NAMESPACE.
var Variables = []Row{
	variable("MIRRORD_CONFIG_FILE", "config-file"),
	variable("MIRRORD_ACCEPT_INVALID_CERTIFICATES", "accept_invalid_certificates"),
	variable("MIRRORD_AGENT_CLEAN_IPTABLES_ON_START", "agent.clean_iptables_on_start"),
	variable("MIRRORD_AGENT_COMMUNICATION_TIMEOUT", "agent.communication_timeout"),
	variable("MIRRORD_AGENT_EXCLUDE_FROM_MESH", "agent.exclude_from_mesh"),
	variable("MIRRORD_AGENT_EXTERNAL_IP_FIX", "agent.external_ip_fix"),
	variable("MIRRORD_AGENT_HTTP_DETECTION_TIMEOUT", "agent.http_detection_timeout"),
	variable("MIRRORD_AGENT_IMAGE", "agent.image"),
	variable("MIRRORD_AGENT_IMAGE_PULL_POLICY", "agent.image_pull_policy"),
	variable("MIRRORD_AGENT_JSON_LOG", "agent.json_log"),
	variable("MIRRORD_AGENT_NAMESPACE", "agent.namespace"),
	variable("MIRRORD_AGENT_NETWORK_INTERFACE", "agent.network_interface"),
	variable("MIRRORD_AGENT_RUST_LOG", "agent.log_level"),
	variable("MIRRORD_AGENT_STARTUP_TIMEOUT", "agent.startup_timeout"),
	variable("MIRRORD_AGENT_STEALER_FLUSH_CONNECTIONS", "agent.flush_connections"),
	{Name: "MIRRORD_AGENT_TCP_STEAL_TRAFFIC", Verdict: Mapped, To: []string{"feature.network.incoming.mode"}, Switch: true, Value: "steal", Text: "true is the mode steal"},
	{Name: "MIRRORD_AGENT_TEST_ERROR", Verdict: Meaningless, Text: "it is for the other tool's own tests"},
	variable("MIRRORD_AGENT_TTL", "agent.ttl"),
	variable("MIRRORD_API", "api"),
	variable("MIRRORD_CONNECT_TCP", "connect_tcp"),
	variable("MIRRORD_ENABLE_IPV6", "feature.network.ipv6"),
	variable("MIRRORD_ENV_LOAD_FROM_PROCESS", "feature.env.load_from_process"),
	variable("MIRRORD_EPHEMERAL_CONTAINER", "agent.ephemeral"),
	variable("MIRRORD_FILE_LOCAL_PATTERN", "feature.fs.local"),
	variable("MIRRORD_FILE_MODE", "feature.fs.mode"),
	variable("MIRRORD_FILE_READ_ONLY_PATTERN", "feature.fs.read_only"),
	variable("MIRRORD_FILE_READ_WRITE_PATTERN", "feature.fs.read_write"),
	{Name: "MIRRORD_HTTP_FILTER_PORTS", Verdict: Meaningless, To: []string{"feature.network.incoming.http_filter"}, Text: "without a filter it asks for nothing, and filters are not taken"},
	below("MIRRORD_HTTP_HEADER_FILTER", "feature.network.incoming.http_filter"),
	below("MIRRORD_HTTP_HEADER_FILTER_JQ", "feature.network.incoming.http_filter"),
	below("MIRRORD_HTTP_METHOD_FILTER", "feature.network.incoming.http_filter"),
	below("MIRRORD_HTTP_PATH_FILTER", "feature.network.incoming.http_filter"),
	variable("MIRRORD_IMPERSONATED_TARGET", "target.path"),
	variable("MIRRORD_KEY", "key"),
	variable("MIRRORD_KUBECONFIG", "kubeconfig"),
	variable("MIRRORD_KUBE_CONTEXT", "kube_context"),
	variable("MIRRORD_MULTI_CLUSTER", "multi_cluster"),
	variable("MIRRORD_OPERATOR_ENABLE", "operator"),
	variable("MIRRORD_OUTGOING_REMOTE_UNIX_STREAMS", "feature.network.outgoing.unix_streams"),
	variable("MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "feature.env.exclude"),
	variable("MIRRORD_OVERRIDE_ENV_VARS_FILE", "feature.env.env_file"),
	variable("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", "feature.env.include"),
	variable("MIRRORD_PAUSE", "pause"),
	preview("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS"),
	preview("MIRRORD_PREVIEW_IDLE_SLEEP_AFTER_SECS"),
	preview("MIRRORD_PREVIEW_IDLE_WAKE_TIMEOUT_SECS"),
	preview("MIRRORD_PREVIEW_IMAGE"),
	preview("MIRRORD_PREVIEW_REPLICAS"),
	preview("MIRRORD_PREVIEW_START_IDLE"),
	preview("MIRRORD_PREVIEW_TTL_MINS"),
	preview("MIRRORD_PREVIEW_TTL_SECS"),
	variable("MIRRORD_PROXY", "use_proxy"),
	variable("MIRRORD_REMOTE_DNS", "feature.network.dns.enabled"),
	variable("MIRRORD_SKIP_BUILD_TOOLS", "skip_build_tools"),
	variable("MIRRORD_SKIP_EXTRA_BUILD_TOOLS", "skip_extra_build_tools"),
	variable("MIRRORD_SKIP_PROCESSES", "skip_processes"),
	variable("MIRRORD_SKIP_SIP", "skip_sip"),
	variable("MIRRORD_TARGET_NAMESPACE", "target.namespace"),
	variable("MIRRORD_TCP_OUTGOING", "feature.network.outgoing.tcp"),
	variable("MIRRORD_TELEMETRY", "telemetry"),
	variable("MIRRORD_UDP_OUTGOING", "feature.network.outgoing.udp"),
	// These two belong to tracing at large, and are often set: nothing is said.
	{Name: "TRACEPARENT", Verdict: Meaningless, Text: "nothing is traced; the process gets it as it is"},
	{Name: "BAGGAGE", Verdict: Meaningless, Text: "nothing is traced; the process gets it as it is"},
}

// OwnVariables are those of understudy's own that stand for no flag.
var OwnVariables = []Row{
	{Name: "UNDERSTUDY_TAKEOVER", Verdict: Supported, Own: true, To: []string{"takeover"}, Text: "how the target is kept from consuming"},
}

// variable is one that says what a key says; what becomes of the key becomes
// of it.
func variable(name, key string) Row {
	row := Row{Name: name, Verdict: Mapped, To: []string{key}}
	if of := Key(key); of != nil && (of.Verdict == Meaningless || of.Verdict == Refused) {
		row.Verdict, row.Text, row.Do, row.Neutral = of.Verdict, of.Text, of.Do, of.Neutral
	}
	return row
}

// below is a variable that says what one of the keys below a key says, whose own
// values are not its.
func below(name, key string) Row {
	row := variable(name, key)
	row.Neutral = nil
	return row
}

// preview is a variable that exec does not heed in the other tool either.
func preview(name string) Row {
	return Row{Name: name, Verdict: Meaningless, To: []string{"feature.preview"}, Text: "it is for `mirrord preview`, and there are no previews here"}
}
