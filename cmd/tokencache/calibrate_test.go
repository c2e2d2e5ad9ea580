package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/calibration"
)

// TestCalibrateModes checks which flags go with what calibrate is asked for, and what is said of
// those that do not. Defaults do not count as given.
func TestCalibrateModes(t *testing.T) {
	const (
		predictor = "--method tokencache that trains a predictor (importance=static or dynamic)"
		placing   = "--method tokencache that places I-steps (ratio=0 and --speed)"
		between   = "--method tokencache that learns forecasts between given I-steps (--ratio, or --trials 0)"
		policies  = "--method tokencache, smoothcache, teacache, magcache, l2c, dpcache, cem or l2p"
	)
	var c cli
	parser := newParser(&c, kong.Exit(func(int) {}))
	for _, test := range []struct {
		line string
		want string // "": it is taken
	}{
		{"--target psnr>=40", ""},
		{"--target psnr>=40 --reference converged --methods fora --evidence 8 --measure 8 --eta 0", ""},
		{"--target psnr>=40 --trials 5", "--trials is not for --target, which searches"},
		{"--target psnr>=40 --policy k=3", "--policy is not for --target, which searches"},
		{"--target psnr>=40 --paper v1", "--paper is not for --target, which searches"},
		{"--target psnr>=40 --images 8", "--images is not for --target, which searches"},
		{
			"--target psnr>=40 --speed 2x",
			"--speed is not for --target, which searches samplers, methods, speeds and parameters itself: it is for " + policies,
		},
		{"--target psnr>=40 --method teacache", "--method is not for --target"},
		{"--target psnr>=40 --max-loss 1", "--max-loss is not for --target"},

		{"--contract p", ""},
		{"--contract p --eta 1 --reference converged --no-contract-checks --contract-images 9 --keep k --confidence 0.5", ""},
		{"--contract p --speed 2x", "--speed is not for --contract, which takes a policy as it is: it is for " + policies},
		{"--contract p --target psnr>=40", "--target is not for --contract"},
		{"--contract p --choose-dtype p", "--choose-dtype is not for --contract"},
		{"--contract p --seed 3", "--seed is not for --contract"},
		{"--contract p --measure 3", "--measure is not for --contract"},
		{"--contract p --updates 3", "--updates is not for --contract"},

		{"--choose-dtype p --max-loss 3 --measure 8 --reference real", ""},
		{"--choose-dtype p --target psnr>=40", "--target is not for --choose-dtype"},
		{"--choose-dtype p --confidence 0.5", "--confidence is not for --choose-dtype, which takes a policy as it is"},
		{"--choose-dtype p --images 8", "--images is not for --choose-dtype"},

		{"--speed 2x --images 8 --trials 5 --few 2 --placement dp --halves 1 --weigh survival --seed 2 --measure 1", ""},
		{"--speed 2x --policy ratio=0,order=2 --trials 4", ""},
		{"--speed 2x --reference converged", "--reference is not for " + placing + ": it is for --target, --contract and"},
		{"--speed 2x --confidence 0.5", "--confidence is not for " + placing + ": it is for --contract"},
		{"--speed 2x --no-contract-checks", "--contract-checks is not for " + placing},
		{"--speed 2x --max-loss 3", "--max-loss is not for " + placing},
		{"--speed 2x --lr 0.1", "--lr is not for " + placing + ": it is for " + predictor},
		{"--speed 2x --training path", "--training is not for " + placing},
		{"--speed 2x --predictor p", "--predictor is not for " + placing},
		{"--speed 2x --percentile", "--percentile is not for " + placing},
		{"--speed 2x --policy ratio=0,order=2 --percentile", "--percentile is not for " + placing},
		{"--speed 2x --lookahead 2", "--lookahead is not for " + placing + ": it is for --method smoothcache"},
		{"--ratio 0 --threshold 1", "--threshold is not for " + between + ": it is for --method smoothcache, teacache, "},
		{"--ratio 0 --trials 0 --images 8 --halves 1", ""},
		{"--speed 2x --trials 0 --images 8", ""},
		{"--speed 2x --trials 0 --few 8", "--few is not for " + between},
		{"--ratio 0 --trials 5", "--trials is not for " + between + ": it is for --method tokencache that places"},
		{"--ratio 0.25 --policy learned=true,importance=random --weigh survival", ""},
		{"--ratio 0.25 --updates 3 --batch 2 --lr 0.1 --lambda 1 --training path --images 4 --percentile", ""},
		{"--ratio 0.25 --trials 3", "--trials is not for " + predictor},
		{"--ratio 0.25 --halves 1", "--halves is not for " + predictor},
		{"--ratio 0.25 --predictor p --percentile --images 8", ""},
		{"--ratio 0.25 --predictor p --images 8", "--images is not for --method tokencache that takes a predictor"},
		{"--ratio 0.25 --predictor p --updates 8", "--updates is not for --method tokencache that takes a predictor"},
		{"--ratio 0.25 --policy importance=random --measure 3", ""},
		{"--ratio 0.25 --policy importance=random --images 3", "--images is not for --method tokencache that learns nothing"},
		{"--ratio 0.25 --policy importance=random --percentile --images 3", ""},

		{"--paper v1 --policy k1=3 --updates 5 --images 8", ""},
		{"--paper v2 --speed 1.5x", ""},
		{"--paper v2 --trials 5", "--trials is not for " + predictor},
		{"--paper v1 --method l2c", "--paper is not for --method l2c: it is for --method tokencache"},

		{"--method smoothcache --threshold 0.5 --lookahead 2 --images 8", ""},
		{"--method smoothcache --trials 5", "--trials is not for --method smoothcache: it is for --method tokencache"},
		{"--method smoothcache --policy k=3", "--policy is not for --method smoothcache: it is for --method tokencache"},
		{"--method smoothcache --ratio 0.5", "--ratio is not for --method smoothcache"},
		{"--method smoothcache --updates 5", "--updates is not for --method smoothcache: it is for --method tokencache"},
		{"--method teacache --lookahead 2", "--lookahead is not for --method teacache"},
		{"--method teacache --full 3", "--full is not for --method teacache: it is for --method dpcache, cem or l2p"},
		{"--method magcache --percentile", "--percentile is not for --method magcache"},
		{"--method l2c --updates 5 --batch 2 --router-lr 0.1 --l1 0.1 --threshold 0.5", ""},
		{"--method l2c --lr 0.1", "--lr is not for --method l2c"},
		{"--method l2c --gaps linear", "--gaps is not for --method l2c: it is for --method cem"},
		{"--method dpcache --full 7", ""},
		{"--method dpcache --threshold 7", "--threshold is not for --method dpcache"},
		{"--method cem --feature output", "--feature is not for --method cem: it is for --method l2p"},
		{"--method l2p --feature output --columns all", ""},

		{"--method learned-solver --steps 9 --guidance 2 --trials 5 --few 2 --images 8 --measure 2 --seed 3", ""},
		{"--method learned-solver --sampler unipc", "--sampler is not for --method learned-solver, which makes a sampler"},
		{"--method learned-solver --eta 1", "--eta is not for --method learned-solver"},
		{"--method learned-solver --spacing karras", "--spacing is not for --method learned-solver"},
		{"--method learned-solver --speed 2x", "--speed is not for --method learned-solver"},
		{"--method learned-solver --placement dp", "--placement is not for --method learned-solver"},
	} {
		t.Run(test.line, func(t *testing.T) {
			k, err := parser.Parse(append([]string{"calibrate", "--out", "x"}, strings.Fields(test.line)...))
			if err != nil {
				t.Fatal(err)
			}
			err = c.checkMode(k)
			if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// TestCalibrateFlagsHaveModes checks that each flag of calibrate is of certain modes or of all: a
// new one has to be thought of.
func TestCalibrateFlagsHaveModes(t *testing.T) {
	shared := []string{
		"help", "version", "quiet", "model", "vae", "key", "heads", "dtype", "threads", "out", "overwrite", "json",
		"steps", "guidance", "guidance-power", "guidance-all-channels",
		"prompt-file", "encoded", "text-encoder", "text-cache",
	}
	var c cli
	for _, verb := range newParser(&c).Model.Leaves(true) {
		if verb.Name != "calibrate" {
			continue
		}
		for _, f := range slices.Concat(verb.AllFlags(false)...) {
			if all := slices.Contains(shared, f.Name); all == (calibration.Users(f.Name) != nil) {
				t.Errorf("--%s: of all modes: %t, and of the modes %v", f.Name, all, calibration.Users(f.Name))
			}
		}
	}
}
