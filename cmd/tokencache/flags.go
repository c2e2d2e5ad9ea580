package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/reuse"
)

// samplingFlags say how images are sampled: the same flags in every verb that samples.
type samplingFlags struct {
	Sampler  string   `help:"One of ${samplers}; see list samplers. Default: ddim, or what a calibrated --policy was made for, as of the other settings here." placeholder:"NAME"`
	Steps    string   `help:"Denoising steps: a number from 1 to 1000 (50), DDIM's own spacing (ddim50), or numbers for equal sections of the schedule (10,15,20). Default: 50, for ode and sde 250." placeholder:"STEPS"`
	Spacing  string   `help:"How the steps are spaced, if --steps is a number: ${spacings}, ddim, or noise levels of part of the timesteps such as leading+karras. Default: evenly." placeholder:"NAME"`
	Order    int      `help:"Order of dpm++, dpm, sde-dpm++, sde-dpm, unipc, deis (default 2) or lms (default 4)." placeholder:"N"`
	Variant  string   `help:"midpoint or heun of second-order dpm++ and dpm, bh2 or bh1 of unipc, plms or prk of pndm, dopri5, euler, heun, midpoint, heun3 or rk4 of ode, euler or heun of sde, deterministic or stochastic of a flow's euler. Default: the first of these." placeholder:"NAME"`
	Solver   string   `help:"File of learned solvers for --sampler learned, or its folder, as calibrate --method learned-solver makes it. Default: the bundled ones." placeholder:"FILE|DIR"`
	Eta      *float64 `help:"Noise that ddim adds at each step, 0 to 1: 0 none, 1 as much as ddpm. Default: 0." placeholder:"X"`
	Guidance *float64 `aliases:"cfg" help:"Scale of classifier-free guidance, 0 or more; 1 turns it off, which halves the work. Default: what suits the model (for a DiT 4, for an MDT 3.8, for a bundled model what its card says)." placeholder:"X"`
	Power    *float64 `name:"guidance-power" aliases:"cfg-power" help:"Let the scale grow from 1 while the noise falls, as 1+(scale-1)*(1-cos(pi*(1-t/1000)^power))/2; 0 keeps it the same at every step. Default: 0, but 4 for an MDT that is not bundled, as in its official code." placeholder:"P"`
	All      bool     `name:"guidance-all-channels" aliases:"cfg-all-channels" help:"Guide all channels of the noise, instead of the first three as the official code does."`
	flowFlags
	Clip bool `help:"Clamp every predicted image to [-1,1], for models of pixels."`
}

// sampling returns the settings, with the guidance that suits the model where none is given.
func (f *samplingFlags) sampling(suits diffusion.Sampling) (diffusion.Sampling, error) {
	s := diffusion.Sampling{
		Sampler:       cmp.Or(f.Sampler, suits.Sampler, "ddim"),
		Order:         f.Order,
		Variant:       f.Variant,
		Eta:           or(f.Eta, 0),
		Guidance:      or(f.Guidance, suits.Guidance),
		GuidancePower: or(f.Power, suits.GuidancePower),
		GuideAll:      f.All,
		Clip:          f.Clip,
	}
	f.flowFlags.add(&s)
	if f.Shift == 0 && !f.Resolve {
		s.Shift, s.ShiftByResolution, s.ShiftTerminal = suits.Shift, suits.ShiftByResolution, suits.ShiftTerminal
	}
	var err error
	if f.Sampler == "" && f.Spacing == "" {
		s.Steps = suits.Steps
	}
	if f.Steps != "" {
		if s.Steps, s.Spacing, err = diffusion.ParseSteps(f.Steps); err != nil {
			err = fmt.Errorf("--%w", err)
		}
	}
	if err == nil && f.Spacing != "" {
		if s.Spacing != "" {
			return s, fmt.Errorf("--steps %s and --spacing %s: give --steps a number alone", f.Steps, f.Spacing)
		}
		s.Spacing = f.Spacing
	}
	if err == nil && f.Solver == "" { // else its file says which steps there are
		err = s.Validate()
	}
	return s.WithDefaults(), err
}

// of returns the settings for a policy: where no flag says otherwise, those that it was made for.
func (f *samplingFlags) of(policy reuse.Policy, s diffusion.Sampling) diffusion.Sampling {
	t, ok := policy.(*reuse.Trained)
	if !ok || f.Sampler != "" && f.Sampler != t.Sampler {
		return s
	}
	made := t.Sampling
	made.RNG = s.RNG
	if f.Steps != "" || f.Spacing != "" {
		made.Steps, made.Spacing = s.Steps, s.Spacing
	}
	made.Order, made.Variant = cmp.Or(f.Order, made.Order), cmp.Or(f.Variant, made.Variant)
	made.Eta = or(f.Eta, made.Eta)
	if f.Guidance != nil {
		made.Guidance, made.GuidancePower = s.Guidance, s.GuidancePower
	}
	made.GuidancePower = or(f.Power, made.GuidancePower)
	made.GuideAll, made.Clip = made.GuideAll || f.All, made.Clip || f.Clip
	if f.flowFlags != (flowFlags{}) {
		f.flowFlags.add(&made)
	}
	return made.WithDefaults()
}

// flowFlags are of flow models, such as SiT.
type flowFlags struct {
	Shift     float64 `help:"Shift the steps of a flow towards noise, u to X*u/(1+(X-1)*u). Default: as the model's scheduler_config.json says, else 1, which does not." placeholder:"X"`
	Resolve   bool    `name:"shift-by-resolution" help:"Shift the steps of a flow by as much as suits the number of its tokens."`
	From      float64 `name:"guidance-low" help:"Guide only from this time on, timestep/1000, which is 1 for noise. Default: 0." placeholder:"T"`
	To        float64 `name:"guidance-high" help:"Guide only up to this time, such as 0.7. Default: 1." placeholder:"T"`
	Form      string  `name:"diffusion-form" help:"How much noise sde adds on the way: ${forms}. Default: the first." placeholder:"NAME"`
	Norm      float64 `name:"diffusion-norm" help:"Multiply it. Default: 1." placeholder:"X"`
	Last      string  `name:"last-step" help:"Last step of sde: ${lasts}. Default: the first." placeholder:"NAME"`
	LastSize  float64 `name:"last-step-size" help:"Its length. Default: 0.04." placeholder:"X"`
	SampleEps float64 `name:"sample-eps" help:"How far ode and sde keep from both ends. Default: as SiT's code." placeholder:"X"`
	AbsTol    float64 `name:"atol" help:"Absolute tolerance of ode's dopri5. Default: 1e-6." placeholder:"X"`
	RelTol    float64 `name:"rtol" help:"Relative tolerance of ode's dopri5. Default: 1e-3." placeholder:"X"`
}

// add sets what the flags say.
func (f flowFlags) add(s *diffusion.Sampling) {
	s.Shift, s.ShiftByResolution = f.Shift, f.Resolve
	s.GuidanceLow, s.GuidanceHigh = f.From, f.To
	if f.From != 0 && f.To == 0 {
		s.GuidanceHigh = 1
	}
	s.Form, s.FormScale, s.LastStep, s.LastStepSize = f.Form, f.Norm, f.Last, f.LastSize
	s.SampleEps, s.AbsTol, s.RelTol = f.SampleEps, f.AbsTol, f.RelTol
}

// readSolvers reads the learned solvers of a file or its folder, if one is given.
func readSolvers(path string) ([]*diffusion.LearnedSolver, error) {
	if path == "" {
		return nil, nil
	}
	named := path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, calibrate.SolversFile)
	}
	solvers, err := calibrate.OpenSolvers(path)
	if err != nil {
		return nil, fmt.Errorf("--solver %s: %w", named, err)
	}
	return solvers, nil
}

// parseSpeed reads a speed such as 2.4x; an empty text is 0.
func parseSpeed(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	speed, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(speed > 1 && speed < 1000) {
		return 0, fmt.Errorf("--speed %s: want a number above 1, such as 2.4x", text)
	}
	return speed, nil
}

// parseSeed reads a seed; an empty text is a random one.
func parseSeed(text string) (uint64, error) {
	if text == "" {
		return uint64(rand.Uint32()), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("--seed %s: want a whole number from 0 to 2^64-1", text)
	}
	return seed, nil
}

// or returns what was given, or else the default.
func or[T any](given *T, standard T) T {
	if given == nil {
		return standard
	}
	return *given
}
