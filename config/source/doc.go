// Package source brings a configuration file from the disk to a tree of values
// that know where they stand: it finds the file, renders it as a template, and
// parses JSON (with comments and trailing commas), YAML or TOML.
//
// It does not know what any key means.
package source
