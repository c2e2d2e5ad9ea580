package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/jobs"
	"github.com/tokencache/tokencache/models/bundle"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tokencache": func() {
		if path := os.Getenv(bundleVariable); path != "" {
			bundle.Register(textBundle(path))
		}
		main()
	}})
}

// bundleVariable names the weights of a text-to-image model that the program then has bundled.
const bundleVariable = "TOKENCACHE_TEST_BUNDLE"

// textBundle returns a bundled text-to-image model with the weights in a file.
func textBundle(path string) *bundle.Bundle {
	weights, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return &bundle.Bundle{
		Name:     "bundled-text",
		Files:    fstest.MapFS{bundle.WeightsFile: {Data: weights}},
		Sampling: tokencache.Sampling{Sampler: "euler", Steps: 8, Guidance: 2},
		Prompts:  []string{"a small cat", "a fish"},
	}
}

// TestScripts runs the program as a user does. $MODELS is the folder of small models.
func TestScripts(t *testing.T) {
	models, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("MODELS", models)
			// Scripts run as many at a time as there are processors: more threads would only wait for them.
			e.Setenv("GOMAXPROCS", "1")
			e.Setenv(levelVariable, os.Getenv(levelVariable))
			e.Setenv("AUTO", "int8") // what --dtype auto makes of a policy that says int8
			if kernel.ActiveLevel() == kernel.Generic {
				e.Setenv("AUTO", "f32")
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"truncate": truncate,
			"digits":   digits,
			"blackPNG": blackPNG,
			"broker":   startBroker,
			"job":      job,
		},
	})
}

// startBroker starts a broker and sets $NATS to its address.
func startBroker(ts *testscript.TestScript, _ bool, _ []string) {
	b, err := jobs.StartBroker("127.0.0.1:0", ts.MkAbs("broker"), jobs.Access{})
	ts.Check(err)
	ts.Defer(b.Stop)
	ts.Setenv("NATS", b.URL())
}

// job sets $JOB to the job that the last command has named.
func job(ts *testscript.TestScript, _ bool, _ []string) {
	said := regexp.MustCompile(`job ([0-9a-f]+):`).FindStringSubmatch(ts.ReadFile("stderr"))
	if said == nil {
		ts.Fatalf("no job was named")
	}
	ts.Setenv("JOB", said[1])
}

const levelVariable = "TOKENCACHE_CPU"

// truncate FILE cuts the second half of a file off.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()/2))
}
