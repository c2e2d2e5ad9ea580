package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tokencache/tokencache/internal/kernel"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tokencache": main})
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
		},
	})
}

const levelVariable = "TOKENCACHE_CPU"

// truncate FILE cuts the second half of a file off.
func truncate(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	info, err := os.Stat(path)
	ts.Check(err)
	ts.Check(os.Truncate(path, info.Size()/2))
}
