package command

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"understudy.dev/understudy/config"
)

// completeFor is how long somebody who has pressed the tab key is kept waiting.
const completeFor = 2 * time.Second

// completeExec lets a shell complete targets, namespaces and contexts. What
// cannot be had in time, or may not be listed, is not completed.
func completeExec(cmd *cobra.Command) {
	with := func(list func(ctx context.Context, c *config.Config) []string) cobra.CompletionFunc {
		return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			c, err := config.Load(cmd.Flags())
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			ctx, cancel := context.WithTimeout(context.Background(), completeFor)
			defer cancel()
			names := list(ctx, c)
			slices.Sort(names)
			return names, cobra.ShellCompDirectiveNoFileComp
		}
	}
	for flag, list := range map[string]func(context.Context, *config.Config) []string{
		"target": deployments, "target-namespace": namespaces, "context": contexts,
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, with(list)); err != nil {
			panic(err) // a flag of another name: a mistake in this file
		}
	}
}

func deployments(ctx context.Context, c *config.Config) []string {
	rest, namespace, err := cluster(c)
	if err != nil {
		return nil
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil
	}
	list, err := client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		names = append(names, "deployment/"+list.Items[i].Name)
	}
	return names
}

func namespaces(ctx context.Context, c *config.Config) []string {
	rest, _, err := cluster(c)
	if err != nil {
		return nil
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil
	}
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil
	}
	var names []string
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names
}

func contexts(_ context.Context, c *config.Config) []string {
	raw, err := kubeconfig(c).RawConfig()
	if err != nil {
		return nil
	}
	var names []string
	for name := range raw.Contexts {
		names = append(names, name)
	}
	return names
}
