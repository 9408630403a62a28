package build

// Controllers of other projects, for the stories of workloads that they run.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// KEDA scales by the length of queues. Its program's name is the field manager
// that it writes with.
var keda = Program{
	Name:    "keda",
	Package: "github.com/kedacore/keda/v2/cmd/operator",
	LDFlags: "-X github.com/kedacore/keda/v2/version.Version={version}",
	Module: &Module{
		Path: "github.com/kedacore/keda/v2", Version: "v2.21.0", Sum: "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
		Files:   "config/crd/bases/*.yaml",
		Variant: "scalers " + strings.Join(kedaScalers, " "), Vary: onlyScalers,
	},
}

// kedaScalers are the triggers that are left of KEDA's seventy: the others bring
// client libraries of brokers and clouds, which are half of what would be
// compiled. What decides, pauses and scales stays as it is.
var kedaScalers = []string{"nats-jetstream"}

// scalerFiles are what is left of the package of all scalers.
var scalerFiles = []string{"scaler.go", "nats_jetstream_scaler.go"}

// onlyScalers takes the other scalers out of a copy of KEDA's module.
func onlyScalers(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "pkg", "scalers", "*.go"))
	if err != nil {
		return fmt.Errorf("taking scalers out: %w", err)
	}
	for _, file := range files {
		if slices.Contains(scalerFiles, filepath.Base(file)) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("taking scalers out: %w", err)
		}
	}
	path := filepath.Join(folder, "pkg", "scaling", "scalers_builder.go")
	source, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("taking scalers out: %w", err)
	}
	reduced, err := onlyTriggers(string(source), kedaScalers)
	if err != nil {
		return fmt.Errorf("taking scalers out of %s: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(reduced), 0o644); err != nil {
		return fmt.Errorf("taking scalers out: %w", err)
	}
	return nil
}

// onlyTriggers leaves of the one switch over triggers, which KEDA marks for
// tools, the cases of those named and the default.
func onlyTriggers(source string, wanted []string) (string, error) {
	before, rest, begins := strings.Cut(source, "// TRIGGERS-START")
	cases, after, ends := strings.Cut(rest, "// TRIGGERS-END")
	if !begins || !ends {
		return "", errors.New("its switch over triggers is not marked")
	}
	parts := strings.Split(cases, "\tcase ")
	kept := parts[:1:1]
	last, fallback, found := strings.Cut(parts[len(parts)-1], "\tdefault:")
	if !found {
		return "", errors.New("its switch over triggers has no default")
	}
	parts[len(parts)-1] = last
	for _, name := range wanted {
		i := slices.IndexFunc(parts, func(part string) bool { return strings.HasPrefix(part, `"`+name+`":`) })
		if i < 0 {
			return "", fmt.Errorf("it has no trigger %s", name)
		}
		kept = append(kept, parts[i])
	}
	return before + "// TRIGGERS-START" + strings.Join(kept, "\tcase ") + "\tdefault:" + fallback + "// TRIGGERS-END" + after, nil
}

var argoRollouts = Program{
	Name:    "rollouts-controller",
	Package: "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
	LDFlags: "-X github.com/argoproj/argo-rollouts/utils/version.version={version}",
	Module: &Module{
		// The last version that takes this compiler.
		Path: "github.com/argoproj/argo-rollouts", Version: "v1.10.1", Sum: "h1:6oyVPGiHHxu3ixkT6mngemh88HLPDoTX1IwO6KNR1Y4=",
		Files: "manifests/crds/*-crd.yaml",
	},
}
