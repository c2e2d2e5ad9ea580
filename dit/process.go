package dit

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
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

	diffusers bool // a scheduler of diffusers told of a flow
}

// flowSchedule stands for the betas that a flow does not have.
const flowSchedule = "flow"

// officialProcess is that of DiT and MDT: Ho et al. 2020, section 4.
var officialProcess = Process{
	Prediction: "epsilon",
	Schedule:   "linear",
	BetaStart:  1e-4,
	BetaEnd:    0.02,
	Timesteps:  1000,
}

// UnsupportedError says that a model is recognised but cannot be run.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

// Unsupported returns an *UnsupportedError if this version cannot run the model, or nil.
func (w *Weights) Unsupported() error {
	p, want := w.Process, officialProcess
	want.Source = p.Source
	switch {
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

const schedulerFile = "scheduler_config.json"

// schedulerConfig is a scheduler_config.json of diffusers, where it concerns what the model was
// trained for. What is not given is as diffusers' default, which is the official process.
type schedulerConfig struct {
	Class      string          `json:"_class_name"`
	Prediction *string         `json:"prediction_type"`
	Schedule   *string         `json:"beta_schedule"`
	BetaStart  *float64        `json:"beta_start"`
	BetaEnd    *float64        `json:"beta_end"`
	Timesteps  *int            `json:"num_train_timesteps"`
	Trained    json.RawMessage `json:"trained_betas"`
	ZeroSNR    bool            `json:"rescale_betas_zero_snr"`
}

// readProcess finds out which process the model was trained for: from scheduler_config.json, which
// convert also keeps in the checkpoint's metadata, from the arguments of the training script, and
// from the name of the file, since a flow's tensors are those of a DiT.
func readProcess(at place, f *checkpoint.File, given *fileConfig) (Process, error) {
	p := officialProcess
	flow := flowSign(at, f)
	if given.PathType != "" {
		flow = "config.json: path_type " + checkpoint.Clean(given.PathType)
	}
	if flow != "" {
		return Process{Prediction: "velocity", Schedule: flowSchedule, Source: flow}, nil
	}
	text := []byte(f.Metadata()[checkpoint.SchedulerKey])
	source := schedulerFile
	if at.scheduler != "" {
		var err error
		if text, err = checkpoint.ReadText(at.scheduler); err != nil {
			return p, err
		}
		source = at.scheduler
	}
	if len(text) == 0 {
		return p, nil
	}
	var c schedulerConfig
	if err := json.Unmarshal(text, &c); err != nil {
		return p, fmt.Errorf("%s: %w", source, err)
	}
	p.Source = filepath.Base(source)
	if strings.HasPrefix(c.Class, "FlowMatch") {
		return Process{Prediction: "velocity", Schedule: flowSchedule, Source: p.Source, diffusers: true}, nil
	}
	set(&p.Prediction, c.Prediction)
	set(&p.Schedule, c.Schedule)
	set(&p.BetaStart, c.BetaStart)
	set(&p.BetaEnd, c.BetaEnd)
	set(&p.Timesteps, c.Timesteps)
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
	if prediction, _ := f.Setting("prediction"); prediction == "velocity" || prediction == "score" {
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
