package dit

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
)

const schedulerFile = "scheduler_config.json"

// schedulerConfig is a scheduler_config.json of diffusers. What is not given is as diffusers'
// default, which is the official process.
type schedulerConfig struct {
	Class      string          `json:"_class_name"`
	Prediction *string         `json:"prediction_type"`
	Schedule   *string         `json:"beta_schedule"`
	BetaStart  *float64        `json:"beta_start"`
	BetaEnd    *float64        `json:"beta_end"`
	Timesteps  *whole          `json:"num_train_timesteps"`
	Trained    json.RawMessage `json:"trained_betas"`
	ZeroSNR    bool            `json:"rescale_betas_zero_snr"`

	// Of flows.
	FlowSigmas bool     `json:"use_flow_sigmas"`
	FlowShift  *float64 `json:"flow_shift"` // of schedulers that are for noise schedules too
	Shift      *float64 `json:"shift"`
	Dynamic    bool     `json:"use_dynamic_shifting"`
	BaseShift  *float64 `json:"base_shift"`
	MaxShift   *float64 `json:"max_shift"`
	BaseTokens *float64 `json:"base_image_seq_len"`
	MaxTokens  *float64 `json:"max_image_seq_len"`
	ShiftType  string   `json:"time_shift_type"`
	Terminal   *float64 `json:"shift_terminal"`
	Inverted   bool     `json:"invert_sigmas"`

	// Of how it samples, not of what the model was trained for.
	Clip         bool   `json:"clip_sample"`
	Thresholding bool   `json:"thresholding"`
	Karras       bool   `json:"use_karras_sigmas"`
	Exponential  bool   `json:"use_exponential_sigmas"`
	Beta         bool   `json:"use_beta_sigmas"`
	Stochastic   bool   `json:"stochastic_sampling"`
	Spacing      string `json:"timestep_spacing"`
}

// noiseSchedulers are diffusers' classes for models of a noise schedule.
var noiseSchedulers = []string{
	"", "DDIMScheduler", "DDIMInverseScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler",
	"DEISMultistepScheduler", "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler", "DPMSolverSDEScheduler",
	"DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
	"IPNDMScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
	"SASolverScheduler", "UniPCMultistepScheduler",
}

// Models of other processes.
const (
	distilled      = "a model that was distilled into few steps"
	preconditioned = "a model with EDM's preconditioning"
	continuous     = "a model of a stochastic differential equation"
	discrete       = "a model of discrete tokens"
)

// otherSchedulers are diffusers' classes for models that cannot be run here.
var otherSchedulers = map[string]string{
	"LCMScheduler":                      distilled,
	"TCDScheduler":                      distilled,
	"SCMScheduler":                      distilled,
	"CMStochasticIterativeScheduler":    distilled,
	"FlowMatchLCMScheduler":             distilled,
	"EDMEulerScheduler":                 preconditioned,
	"EDMDPMSolverMultistepScheduler":    preconditioned,
	"CosineDPMSolverMultistepScheduler": preconditioned,
	"KarrasVeScheduler":                 continuous,
	"ScoreSdeVeScheduler":               continuous,
	"ScoreSdeVpScheduler":               continuous,
	"VQDiffusionScheduler":              discrete,
	"AmusedScheduler":                   discrete,
}

// readScheduler reads the scheduler_config.json next to the model, which convert also keeps in the
// checkpoint's metadata. Without one it returns the official process, with no Source.
func (w *Weights) readScheduler(at place) (Process, error) {
	text, err := readText(at.scheduler, w.File, checkpoint.SchedulerKey)
	if text == nil || err != nil {
		return officialProcess, err
	}
	source := at.scheduler
	if source == "" {
		source = schedulerFile
	}
	var c schedulerConfig
	if err := checkpoint.UnmarshalText(source, text, &c); err != nil {
		return officialProcess, err
	}
	p := officialProcess
	p.Source = filepath.Base(source)
	c.Class = checkpoint.Clean(c.Class)
	if of, ok := otherSchedulers[c.Class]; ok {
		p.refused = fmt.Sprintf("%s: class %s is for %s, which is not supported", p.Source, c.Class, of)
		return p, nil
	}
	c.noteSampling(w, p.Source)
	if c.isFlow() {
		return c.flow(p.Source)
	}
	if !slices.Contains(noiseSchedulers, c.Class) {
		w.assume("%s: class %s is not known, and is taken for one of a noise schedule", p.Source, c.Class)
	}
	set(&p.Prediction, c.Prediction)
	set(&p.Schedule, c.Schedule)
	set(&p.BetaStart, c.BetaStart)
	set(&p.BetaEnd, c.BetaEnd)
	if c.Timesteps != nil {
		p.Timesteps = int(*c.Timesteps)
	}
	p.Prediction, p.Schedule = checkpoint.Clean(p.Prediction), checkpoint.Clean(p.Schedule)
	p.ZeroSNR = c.ZeroSNR
	if t := string(c.Trained); t != "" && t != "null" {
		p.Schedule = "trained"
	}
	return p, nil
}

func set[T any](own, given *T) {
	if given != nil {
		*own = *given
	}
}

func (c *schedulerConfig) isFlow() bool {
	return strings.HasPrefix(c.Class, "FlowMatch") || c.FlowSigmas ||
		c.Prediction != nil && *c.Prediction == string(diffusion.PredictFlow)
}

// flow returns the process of a flow, with the shift of its steps.
func (c *schedulerConfig) flow(source string) (Process, error) {
	p := Process{
		Prediction: string(diffusion.PredictVelocity),
		Schedule:   flowSchedule,
		Source:     source,
		diffusers:  true,
	}
	set(&p.told, c.Prediction)
	set(&p.Shift, c.FlowShift)
	set(&p.Shift, c.Shift)
	set(&p.ShiftTerminal, c.Terminal)
	is := func(x *float64, standard float64) bool { return x == nil || *x == standard }
	switch {
	case (c.Shift != nil || c.FlowShift != nil) && !(p.Shift > 0):
		return p, fmt.Errorf("%s: shift is %g, want a number above 0", source, p.Shift)
	case !(p.ShiftTerminal >= 0 && p.ShiftTerminal < 1):
		return p, fmt.Errorf("%s: shift_terminal is %g, want 0 to below 1", source, p.ShiftTerminal)
	case c.Inverted:
		p.refused = source + ": invert_sigmas true is not supported, only false"
	case c.Dynamic && !(is(c.BaseShift, 0.5) && is(c.MaxShift, 1.15) && is(c.BaseTokens, 256) && is(c.MaxTokens, 4096) &&
		(c.ShiftType == "" || c.ShiftType == "exponential")):
		p.refused = source + ": use_dynamic_shifting is supported only with base_shift 0.5, max_shift 1.15, " +
			"base_image_seq_len 256, max_image_seq_len 4096 and time_shift_type exponential"
	case c.Dynamic:
		p.Shift, p.ShiftByResolution = 0, true
	}
	if p.Shift == 1 || math.IsInf(p.Shift, 0) {
		p.Shift = 0
	}
	return p, nil
}

// noteSampling says which of the scheduler's ways to sample are left to diffusion.Sampling.
func (c *schedulerConfig) noteSampling(w *Weights, source string) {
	var names []string
	for _, s := range []struct {
		name string
		on   bool
	}{
		{"clip_sample", c.Clip},
		{"thresholding", c.Thresholding},
		{"use_karras_sigmas", c.Karras},
		{"use_exponential_sigmas", c.Exponential},
		{"use_beta_sigmas", c.Beta},
		{"stochastic_sampling", c.Stochastic},
		{"timestep_spacing trailing", c.Spacing == "trailing"},
	} {
		if s.on {
			names = append(names, s.name)
		}
	}
	if len(names) > 0 {
		w.assume("%s asks for %s: how to sample is not taken from it", source, strings.Join(names, ", "))
	}
}
