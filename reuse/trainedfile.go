package reuse

import (
	"bytes"
	"encoding/json"

	"github.com/tokencache/tokencache/diffusion"
)

// trainedFields is a Trained as encoding/json sees its own fields.
type trainedFields Trained

// trainedFile is policy.json.
type trainedFile struct {
	*trainedFields
	solverOptions
	Sampler       string  `json:"sampler"`
	Steps         string  `json:"steps"`
	Guidance      float64 `json:"guidance"`
	GuidancePower float64 `json:"guidance_power,omitempty"`
	Eta           float64 `json:"eta,omitempty"`
	GuideAll      bool    `json:"guide_all,omitempty"`
	Clip          bool    `json:"clip,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (t *Trained) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(trainedFile{
		trainedFields: (*trainedFields)(t),
		solverOptions: optionsOf(t.Sampling),
		Sampler:       t.Sampler,
		Steps:         t.StepsText(),
		Guidance:      t.Guidance,
		GuidancePower: t.GuidancePower,
		Eta:           t.Eta,
		GuideAll:      t.GuideAll,
		Clip:          t.Clip,
	})
	return b.Bytes(), err
}

// UnmarshalJSON implements json.Unmarshaler. It refuses fields that it does not know.
func (t *Trained) UnmarshalJSON(b []byte) error {
	f := trainedFile{trainedFields: (*trainedFields)(t)}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return err
	}
	var steps int
	var spacing string
	if f.Steps != "" { // OpenFS reports what is missing once it knows whether this is a policy at all
		var err error
		if steps, spacing, err = diffusion.ParseSteps(f.Steps); err != nil {
			return err
		}
	}
	t.Sampling = diffusion.Sampling{
		Sampler:       f.Sampler,
		Steps:         steps,
		Spacing:       spacing,
		Eta:           f.Eta,
		Guidance:      f.Guidance,
		GuidancePower: f.GuidancePower,
		GuideAll:      f.GuideAll,
		Clip:          f.Clip,

		Order:             f.Order,
		Variant:           f.Variant,
		Predict:           f.Predict,
		Final:             f.Final,
		NoLowerOrderFinal: f.NoLowerOrderFinal,
		EulerAtFinal:      f.EulerAtFinal,
		DisableCorrector:  f.DisableCorrector,
		StepsOffset:       f.StepsOffset,

		Shift:             f.Shift,
		Mu:                f.Mu,
		ShiftByResolution: f.ShiftByResolution,
		ShiftTerminal:     f.ShiftTerminal,
		Form:              f.Form,
		FormScale:         f.FormScale,
		LastStep:          f.LastStep,
		LastStepSize:      f.LastStepSize,
		SampleEps:         f.SampleEps,
		AbsTol:            f.AbsTol,
		RelTol:            f.RelTol,
		GuidanceLow:       f.GuidanceLow,
		GuidanceHigh:      f.GuidanceHigh,
	}
	return nil
}

// solverOptions is what a sampling says of its solver besides its name.
type solverOptions struct {
	Order             int    `json:"order,omitempty"`
	Variant           string `json:"variant,omitempty"`
	Predict           string `json:"predict,omitempty"`
	Final             string `json:"final,omitempty"`
	NoLowerOrderFinal bool   `json:"no_lower_order_final,omitempty"`
	EulerAtFinal      bool   `json:"euler_at_final,omitempty"`
	DisableCorrector  string `json:"disable_corrector,omitempty"`
	StepsOffset       int    `json:"steps_offset,omitempty"`

	Shift             float64 `json:"shift,omitempty"`
	Mu                float64 `json:"mu,omitempty"`
	ShiftByResolution bool    `json:"shift_by_resolution,omitempty"`
	ShiftTerminal     float64 `json:"shift_terminal,omitempty"`
	Form              string  `json:"diffusion_form,omitempty"`
	FormScale         float64 `json:"diffusion_norm,omitempty"`
	LastStep          string  `json:"last_step,omitempty"`
	LastStepSize      float64 `json:"last_step_size,omitempty"`
	SampleEps         float64 `json:"sample_eps,omitempty"`
	AbsTol            float64 `json:"atol,omitempty"`
	RelTol            float64 `json:"rtol,omitempty"`
	GuidanceLow       float64 `json:"guidance_low,omitempty"`
	GuidanceHigh      float64 `json:"guidance_high,omitempty"`
}

// optionsOf returns the options of a sampling; defaults are zero.
func optionsOf(s diffusion.Sampling) solverOptions {
	s = s.WithDefaults()
	return solverOptions{
		Order:             s.Order,
		Variant:           s.Variant,
		Predict:           s.Predict,
		Final:             s.Final,
		NoLowerOrderFinal: s.NoLowerOrderFinal,
		EulerAtFinal:      s.EulerAtFinal,
		DisableCorrector:  s.DisableCorrector,
		StepsOffset:       s.StepsOffset,
		Shift:             s.Shift,
		Mu:                s.Mu,
		ShiftByResolution: s.ShiftByResolution,
		ShiftTerminal:     s.ShiftTerminal,
		Form:              s.Form,
		FormScale:         s.FormScale,
		LastStep:          s.LastStep,
		LastStepSize:      s.LastStepSize,
		SampleEps:         s.SampleEps,
		AbsTol:            s.AbsTol,
		RelTol:            s.RelTol,
		GuidanceLow:       s.GuidanceLow,
		GuidanceHigh:      s.GuidanceHigh,
	}
}

// String lists the options that are not the defaults.
func (o solverOptions) String() string {
	b, err := json.Marshal(o)
	if err != nil || o == (solverOptions{}) {
		return "the solver's defaults"
	}
	return string(b)
}
