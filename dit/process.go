package dit

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
)

// Process is the diffusion process that a model was trained for, in diffusers' words.
type Process struct {
	Prediction string  // what the model predicts: "epsilon", "v_prediction", "sample", or "velocity" of a flow
	Schedule   string  // of the betas: "linear", "scaled_linear", ..., "trained", or "flow" where there are none
	BetaStart  float64 // beta of the first timestep
	BetaEnd    float64 // beta of the last timestep
	Timesteps  int
	ZeroSNR    bool   // betas are rescaled so that the last timestep is noise alone
	Source     string // what told it, or "" where nothing did and it is the official models'

	// How the steps of a flow are shifted, as in diffusion.Sampling.
	Shift, ShiftTerminal float64
	ShiftByResolution    bool

	diffusers bool   // a scheduler of diffusers told of a flow
	told      string // its prediction_type, of a flow
	refused   string // why the model cannot be run, whatever else it is, or ""
}

// flowSchedule stands for the betas that a flow does not have.
const flowSchedule = "flow"

const (
	officialBetaStart = 1e-4
	officialBetaEnd   = 0.02
	officialTimesteps = diffusion.Timesteps
)

// officialProcess is that of DiT and MDT: Ho et al. 2020, section 4.
var officialProcess = Process{
	Prediction: "epsilon",
	Schedule:   "linear",
	BetaStart:  officialBetaStart,
	BetaEnd:    officialBetaEnd,
	Timesteps:  officialTimesteps,
}

// UnsupportedError says that a model is recognised but cannot be run.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

// Unsupported returns an *UnsupportedError if this version cannot run the model, or nil.
func (w *Weights) Unsupported() error {
	p, want := w.Process, officialProcess
	want.Source = p.Source
	switch {
	case p.refused != "":
		return &UnsupportedError{p.refused}
	case p == want, w.Arch == ArchSiT:
		return nil
	case p.Schedule == flowSchedule:
		return &UnsupportedError{fmt.Sprintf("%s: it predicts the velocity of a flow: of flows only SiT is supported, "+
			"and of this %s only the prediction of noise (epsilon)", p.Source, w.Arch)}
	case p.Prediction != want.Prediction:
		return &UnsupportedError{fmt.Sprintf("%s: prediction_type %s is not supported, only %s",
			p.Source, p.Prediction, want.Prediction)}
	}
	rescaled := ""
	if p.ZeroSNR {
		rescaled = " rescaled to zero terminal SNR (rescale_betas_zero_snr)"
	}
	return &UnsupportedError{fmt.Sprintf("%s: a %s noise schedule with betas from %g to %g over %d "+
		"timesteps%s is not supported, only "+
		"%s, from %g to %g over %d", p.Source, p.Schedule, p.BetaStart, p.BetaEnd, p.Timesteps, rescaled,
		want.Schedule, want.BetaStart, want.BetaEnd, want.Timesteps)}
}

// readProcess finds out which process the model was trained for: from scheduler_config.json, and
// from what tells of a flow, whose tensors are those of a DiT: config.json, the arguments of the
// training script, and the name of the file.
func (w *Weights) readProcess(at place, given *fileConfig) error {
	p, err := w.readScheduler(at)
	if err != nil {
		return err
	}
	w.Process = p
	flow := flowSign(at, w.File)
	switch {
	case given.PathType != "":
		flow = "config.json: path_type " + checkpoint.Clean(given.PathType)
	case strings.EqualFold(given.Arch, string(ArchSiT)):
		flow = "config.json: arch " + string(ArchSiT)
	case ofFlow(given.Prediction):
		flow = "config.json: prediction " + given.Prediction
	}
	if flow != "" {
		w.noteNoise()
		w.Process.Prediction, w.Process.Schedule = string(diffusion.PredictVelocity), flowSchedule
		w.Process.Source, w.Process.diffusers = flow, false
	}
	return nil
}

// noteNoise says that a scheduler's noise schedule is not that of a flow.
func (w *Weights) noteNoise() {
	p, official := w.Process, officialProcess
	official.Source = p.Source
	if p.Schedule != flowSchedule && p.refused == "" && p != official {
		w.assume("%s has a noise schedule, which a flow does not have: it is not used", p.Source)
	}
}

// ofFlow reports whether an argument prediction is one of SiT's that a DiT does not have.
func ofFlow(prediction string) bool {
	return strings.EqualFold(prediction, "velocity") || strings.EqualFold(prediction, "score")
}

// Sampling returns what the process says of how to sample, the shift of a flow's steps, and nothing
// else.
func (p Process) Sampling() diffusion.Sampling {
	return diffusion.Sampling{Shift: p.Shift, ShiftByResolution: p.ShiftByResolution, ShiftTerminal: p.ShiftTerminal}
}

// sitName matches SiT as a word in the name of a file or of a model: SiT-XL-2-256x256.pt, SiT-XL/2.
var sitName = regexp.MustCompile(`(?i)(^|[^a-z])sit([^a-z]|$)`)

// flowSign says what tells that the model is a flow, or returns "".
func flowSign(at place, f *checkpoint.File) string {
	if model, _ := f.Setting("model"); sitName.MatchString(model) {
		return "args: model " + checkpoint.Clean(model)
	}
	if path, ok := f.Setting("path_type"); ok {
		return "args: path_type " + checkpoint.Clean(path)
	}
	if prediction, _ := f.Setting("prediction"); ofFlow(prediction) {
		return "args: prediction " + prediction
	}
	original := f.Metadata()[checkpoint.SourceKey]
	for _, name := range []string{filepath.Base(at.weights), original, filepath.Base(at.folder())} {
		if sitName.MatchString(name) {
			return "the name " + checkpoint.Clean(name)
		}
	}
	return ""
}

// folder returns the model's folder, if one was given rather than a file.
func (at place) folder() string {
	switch {
	case at.named:
		return ""
	case at.index != "":
		return filepath.Dir(at.index)
	}
	return filepath.Dir(at.weights)
}

// setting returns a whole number among the arguments of the training script that saved the file, or
// 0.
func setting(f *checkpoint.File, name string) int {
	text, _ := f.Setting(name)
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
