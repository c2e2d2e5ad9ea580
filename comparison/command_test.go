package comparison

import (
	"testing"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// TestCommand checks that the command of a calibration has everything that the policy depends on.
func TestCommand(t *testing.T) {
	r := &runner{Options: Options{Model: "a model", VAE: "vae"}}
	r.Calibration.Trials, r.Calibration.Few = 16, 8
	o := calibrate.Defaults()
	o.Dir, o.Speed, o.Seed, o.Measure = "out", 2.5, 7, 4
	o.Sampling = diffusion.Sampling{
		Sampler:       "ddim",
		Steps:         50,
		Spacing:       "ddim",
		Eta:           0.5,
		Guidance:      3.8,
		GuidancePower: 4,
		GuideAll:      true,
		Clip:          true,
	}
	const begin = "tokencache calibrate --method "
	const middle = " --speed 2.5x --sampler ddim --steps ddim50 --eta 0.5 --guidance 3.8 --guidance-power 4" +
		" --guidance-all-channels --clip --seed 7 --images 32 --measure 4"
	const end = " --model 'a model' --vae vae --out out"
	for name, more := range map[string]string{
		reuse.TokenCacheMethod:  " --placement best --trials 16 --few 8",
		reuse.SmoothCacheMethod: " --lookahead 3",
		reuse.CEMMethod:         " --gaps quadratic",
		reuse.DPCacheMethod:     "",
		reuse.L2PMethod:         " --feature output --columns computed",
		reuse.L2CMethod:         " --updates 300 --batch 8 --router-lr 0.05 --l1 0.0005",
	} {
		m, err := r.Calibration.method(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.command(m, &o), begin+name+middle+more+end; got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}
