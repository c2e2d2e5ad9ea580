package main

import (
	"os"
	"path/filepath"
	"testing"
)

// parseServe returns the flags of serve that arguments give.
func parseServe(t *testing.T, args ...string) *serveCmd {
	t.Helper()
	c := &cli{}
	if _, err := newParser(c).Parse(append([]string{"serve"}, args...)); err != nil {
		t.Fatal(err)
	}
	return &c.Serve
}

// TestServeConfig checks that flags come before environment variables, and both before the file.
func TestServeConfig(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("addr = \"file:1\"\nkeys = \"file\"\norigin = \"file\"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TOKENCACHE_ADDR", "environment:1")
	t.Setenv("TOKENCACHE_KEYS", "environment")
	c := parseServe(t, "--config", config, "--addr", "flag:1")
	if c.Addr != "flag:1" || c.Keys != "environment" || c.Origin != "file" {
		t.Errorf("addr %q, keys %q, origin %q, want one of each", c.Addr, c.Keys, c.Origin)
	}
}
