package doctor

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Bundle is what is given to who looks into a problem. It never holds a
// kubeconfig, a Secret, or a variable of the environment.
type Bundle struct {
	// Version of this program, in one line.
	Version  string
	Findings []Finding
	// Sessions of the namespace, as far as they may be read. Their keys and
	// annotations are left out.
	Sessions []v1alpha1.Session
	// Configuration that flags, variables and file come to, as a file; without the
	// values of variables.
	Configuration string
	// Logs of the operator.
	Logs []Log
	// Missing is what should be in it and is not.
	Missing []Missing
	// Hidden are words that are taken out wherever they occur: the address of the
	// API server.
	Hidden []string
}

// secret is what is taken out wherever it stands: tokens, PEM blocks, and who
// somebody is in a URL.
var secret = []*regexp.Regexp{
	regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`),
	regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}`),
	regexp.MustCompile(`(?s)-----BEGIN [^-]*-----.*?(-----END [^-]*-----|$)`),
	regexp.MustCompile(`(?i)\b(password|passwd|token|secret|api[_-]?key)\s*[=:]\s*[^\s,;"']+`),
	regexp.MustCompile(`://[^/@\s]+@`),
	// What Go says of who was called, and who was asked for its address.
	regexp.MustCompile(`\b(tcp|udp)[46]? (\[[0-9A-Fa-f:.%]+\]|[^\s:>]+):\d+(->(\[[^\]\s]+\]|[^\s:]+):\d+)?`),
	regexp.MustCompile(`\blookup [^\s:]+( on (\[[^\]\s]+\]|[^\s:]+):\d+)?`),
}

// Hide has a server's URL, and its name wherever it stands alone, taken out.
func (b *Bundle) Hide(server string) {
	_, host, found := strings.Cut(server, "://")
	if !found {
		host = server
	}
	b.Hidden = append(b.Hidden, server, host)
	if at, err := url.Parse("//" + host); err == nil {
		b.Hidden = append(b.Hidden, at.Host, at.Hostname())
	}
}

const redacted = "(redacted)"

func (b *Bundle) redact(text string) string {
	for _, word := range b.Hidden {
		if word != "" {
			text = regexp.MustCompile("(?i)"+regexp.QuoteMeta(word)).ReplaceAllString(text, redacted)
		}
	}
	for _, pattern := range secret {
		text = pattern.ReplaceAllString(text, redacted)
	}
	return text
}

// files are the archive's, the list of them first.
func (b *Bundle) files() ([]file, error) {
	findings, err := json.MarshalIndent(b.Findings, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding what was found: %w", err)
	}
	var sessions []v1alpha1.Session
	for i := range b.Sessions {
		s := b.Sessions[i].DeepCopy()
		s.ManagedFields, s.Annotations, s.Spec.ClientKey = nil, nil, redacted
		sessions = append(sessions, *s)
	}
	listed, err := yaml.Marshal(sessions)
	if err != nil {
		return nil, fmt.Errorf("encoding the sessions: %w", err)
	}
	files := []file{
		{"version.txt", "the version of this program", b.Version + "\n", false},
		{"findings.json", "what understudy doctor found", string(findings) + "\n", false},
		{"configuration.yaml", "what flags, variables and file come to, without the values of variables", b.Configuration, false},
		{"sessions.yaml", "the sessions of the namespace, without their keys", string(listed), false},
	}
	for _, log := range b.Logs {
		files = append(files, file{log.Name, fmt.Sprintf("what the operator said last: at most %d lines, %d KiB", logLines, logBytes>>10), log.Text, true})
	}
	var list strings.Builder
	list.WriteString("What understudy doctor found. Tokens, keys and the API server's address are\ntaken out; names of users, machines and workloads are in it.\n\n")
	for _, f := range files {
		fmt.Fprintf(&list, "%-20s %s\n", f.name, f.what)
	}
	for _, missing := range b.Missing {
		fmt.Fprintf(&list, "\nNot in it: %s: %s\n", missing.What, missing.Why)
	}
	return append([]file{{"contents.txt", "this list", list.String(), false}}, files...), nil
}

// file is one of the archive's.
type file struct {
	name, what, text string
	// bounded: only its end is kept.
	bounded bool
}

// Write writes the bundle as a tar.gz, and says which files are in it.
func (b *Bundle) Write(w io.Writer, now time.Time) (names []string, err error) {
	files, err := b.files()
	if err != nil {
		return nil, err
	}
	var buffer bytes.Buffer
	compressed := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(compressed)
	for _, file := range files {
		text := b.redact(file.text)
		if file.bounded { // after that: half of a secret is not known as one
			text = end(text)
		}
		name := "understudy-doctor/" + file.name
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), ModTime: now}); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		if _, err := io.WriteString(archive, text); err != nil {
			return nil, fmt.Errorf("writing %s: %w", name, err)
		}
		names = append(names, file.name)
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	if err := compressed.Close(); err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	if _, err := buffer.WriteTo(w); err != nil {
		return nil, fmt.Errorf("writing the bundle: %w", err)
	}
	return names, nil
}
