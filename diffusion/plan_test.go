package diffusion

import (
	"strings"
	"testing"
)

// plan names a sampler with its steps as users write them.
type plan struct {
	Method       string
	Steps        string
	Schedule     string
	Eta          float64
	Variance     Variance
	ClipDenoised bool
}

func (p plan) Sampler() (Sampler, error) {
	steps, spacing, err := ParseSteps(p.Steps)
	if err != nil {
		return nil, err
	}
	s := Sampling{Sampler: p.Method, Steps: steps, Spacing: spacing, Eta: p.Eta, Clip: p.ClipDenoised}
	if s.forFlows() {
		return s.New(flowNetwork)
	}
	return s.New(Network{Schedule: p.Schedule, Variance: p.Variance})
}

func TestStepsText(t *testing.T) {
	for text, want := range map[string]Sampling{
		"50":       {Steps: 50},
		"ddim50":   {Steps: 50, Spacing: "ddim"},
		"10,15,20": {Steps: 45, Spacing: "10,15,20"},
		"5":        {Steps: 5},
		"logsnr15": {Steps: 15, Spacing: "logsnr"},

		"leading+karras10": {Steps: 10, Spacing: "leading+karras"},
	} {
		t.Run(text, func(t *testing.T) {
			steps, spacing, err := ParseSteps(text)
			if err != nil || steps != want.Steps || spacing != want.Spacing {
				t.Fatalf("%d steps spaced %q (%v), want %+v", steps, spacing, err, want)
			}
			if got := want.StepsText(); got != text {
				t.Errorf("as text %q", got)
			}
		})
	}
}

func TestParseStepsErrors(t *testing.T) {
	for text, want := range map[string]string{
		"logsnr":     "want logsnr followed by 1 to 1000",
		"logsnr0":    "want logsnr followed by 1 to 1000",
		"logsnr1001": "want logsnr followed by 1 to 1000",
		"sqrt15":     "want a number such as 250",
		"karras+lu5": "want a number such as 250",
	} {
		if _, _, err := ParseSteps(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestSamplingDefaults(t *testing.T) {
	want := Sampling{Sampler: "ddim", Steps: DefaultSteps, Guidance: 1, RNG: RNGOwn}
	if got := (Sampling{}).WithDefaults(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if (Sampling{}).Guide().Enabled() {
		t.Error("guidance without a scale")
	}
}
