package plan

import (
	"fmt"

	fence "understudy.dev/understudy/operator/fence/plan"
)

// frozen is what is against freezing the container, or attaching to it.
func frozen(w *World) []Finding {
	if w.Target.Pod == nil {
		return nil
	}
	var reasons []fence.Reason
	switch {
	case w.freezes():
		reasons = fence.Preflight(w.Target.Pod, w.Target.Container)
	case w.attaches():
		reasons = fence.Attachable(w.Target.Pod, w.Target.Container)
	}
	var found []Finding
	for _, reason := range reasons {
		switch {
		case reason.Code == "NotStarted":
			found = append(found, Finding{FreezeDiffers, Warns, "it is waited for first: " + reason.Message, ""})
		case reason.Final && w.Stands != nil:
			// It is said already, by who would make the agent.
		case reason.Final:
			found = append(found, Finding{FreezeRefused, Blocks, fmt.Sprintf("%s: %s", w.Target, reason.Message), ""})
		default:
			found = append(found, Finding{FreezeDiffers, Warns, reason.Message, ""})
		}
	}
	return found
}

// probes are those that the agent answers for a container that cannot.
func probes(w *World) []Finding {
	if !w.freezes() || w.Target.Pod == nil {
		return nil
	}
	var found []Finding
	answered, _ := fence.Probes(w.Target.Pod, w.Target.Container)
	for _, p := range answered {
		found = append(found, Finding{ProbesAnswered, Notes,
			fmt.Sprintf("the kubelet's %s probe of port %d is answered by your process where it listens there, and by the agent where it does not", p.Kind, p.Port), ""})
	}
	return found
}
