package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
)

// completeFor is how long somebody who has pressed the tab key is kept waiting.
const completeFor = 2 * time.Second

// completeExec lets a shell complete targets, namespaces and contexts. What
// cannot be had in time, or may not be listed, is not completed.
func completeExec(cmd *cobra.Command) {
	completeFlagBy(cmd, "target", func(typed string) lister {
		if strings.Count(typed, "/") < 2 {
			return targets
		}
		return func(ctx context.Context, c *config.Config) ([]string, error) { return containers(ctx, c, typed) }
	})
	completeFlag(cmd, "target-namespace", namespaces)
	completeFlag(cmd, "context", contexts)
	completeWords(cmd, "progress", config.Progress("").Values()...)
	completeWords(cmd, "fs-mode", config.FileMode("").Values()...)
}

// lister gives the names that a flag may have.
type lister func(context.Context, *config.Config) ([]string, error)

func completeFlag(cmd *cobra.Command, flag string, list lister) {
	completeFlagBy(cmd, flag, func(string) lister { return list })
}

// completeWords completes a flag that has a few values.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // a flag of another name: a mistake of the caller's
	}
}

// completeFlagBy completes by what has been typed of the flag's value.
func completeFlagBy(cmd *cobra.Command, flag string, by func(typed string) lister) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completeFor)
		defer cancel()
		c, _, _ := config.Place(cmd.Flags(), config.FoundNames) // as far as it is known
		names, _ := by(typed)(ctx, c)                           // nobody could be told
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // a flag of another name: a mistake in this file
	}
}

// targets are the objects of every kind that can be taken over.
func targets(ctx context.Context, c *config.Config) ([]string, error) {
	client, _, err := connect(c)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var names []string
	var group sync.WaitGroup
	for word, resource := range target.Words() {
		group.Go(func() {
			list, err := client.Objects.Resource(resource).Namespace(client.Namespace).List(ctx, metav1.ListOptions{})
			if err != nil {
				return // not there, or not for this user
			}
			mu.Lock()
			defer mu.Unlock()
			for i := range list.Items {
				// What something controls is not what is taken over, but pods stand for
				// what controls them.
				if word == "pod" || metav1.GetControllerOf(&list.Items[i]) == nil {
					names = append(names, word+"/"+list.Items[i].GetName())
				}
			}
		})
	}
	group.Wait()
	return names, nil
}

// containers are the containers of the target that was typed, each as the whole
// value of the flag.
func containers(ctx context.Context, c *config.Config, typed string) ([]string, error) {
	parts := strings.SplitN(typed, "/", 3)
	ref, err := target.Parse(parts[0] + "/" + parts[1])
	if err != nil {
		return nil, err
	}
	client, _, err := connect(c)
	if err != nil {
		return nil, err
	}
	found, err := target.Containers(ctx, client.Targets(), client.Namespace, ref)
	var values []string
	for _, name := range found {
		values = append(values, parts[0]+"/"+parts[1]+"/container/"+name)
	}
	return values, err
}

func namespaces(ctx context.Context, c *config.Config) ([]string, error) {
	return names(c, func(client *session.Client) (runtime.Object, error) {
		return client.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	})
}

func pods(ctx context.Context, c *config.Config) ([]string, error) {
	return names(c, func(client *session.Client) (runtime.Object, error) {
		return client.Kube.CoreV1().Pods(client.Namespace).List(ctx, metav1.ListOptions{})
	})
}

func nodes(ctx context.Context, c *config.Config) ([]string, error) {
	return names(c, func(client *session.Client) (runtime.Object, error) {
		return client.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	})
}

// names are those of what is listed.
func names(c *config.Config, list func(*session.Client) (runtime.Object, error)) ([]string, error) {
	client, _, err := connect(c)
	if err != nil {
		return nil, err
	}
	found, err := list(client)
	if err != nil {
		return nil, err
	}
	var names []string
	err = meta.EachListItem(found, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err == nil {
			names = append(names, object.GetName())
		}
		return err
	})
	return names, err
}

func contexts(_ context.Context, c *config.Config) ([]string, error) {
	raw, err := kubeconfig(c).RawConfig()
	if err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(raw.Contexts)), nil
}

// completeSession completes the name of a session, and with targets those that
// have one, each with what it stands for.
func completeSession(cmd *cobra.Command, withTargets bool) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completeFor)
		defer cancel()
		c, _, _ := config.Place(cmd.Flags(), config.FoundNames) // as far as it is known
		client, _, err := connect(c)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		sessions, _ := (&place{Config: *c}).everyone(client).list(ctx, func(string, ...any) {}) // nobody could be told
		var names []string
		for i := range sessions {
			s := &sessions[i]
			of := session.Tell(s).Target
			names = append(names, fmt.Sprintf("%s\t%s of %s", s.Name, of, s.Spec.Owner.Username))
			if withTargets && of != "" {
				names = append(names, fmt.Sprintf("%s\t%s of %s", of, s.Name, s.Spec.Owner.Username))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
