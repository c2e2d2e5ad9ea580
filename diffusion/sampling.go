package diffusion

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// RNG names a source of random numbers.
type RNG string

const (
	RNGOwn   RNG = "own"       // a stream for each image: image i of a seed is the same in any batch
	RNGTorch RNG = "torch-cpu" // PyTorch's generator for CPUs, for whole batches as in DiT's sampling loop
)

// DefaultSteps is the number of steps where a Sampling does not say.
const DefaultSteps = 50

// Sampling is how images are sampled: with the weights, the policy, the seed and the class, all
// that an image depends on. Zero values mean what their comments say; WithDefaults fills them in.
type Sampling struct {
	// Sampler is one of Methods; "" means ddim.
	Sampler string `json:"sampler"`
	// Steps is the number of denoising steps; 0 means DefaultSteps.
	Steps int `json:"steps"`
	// Spacing says which timesteps the steps visit: "" spreads them evenly, "ddim" takes every k-th
	// timestep for the one whole k that fits, and a list such as "10,15,20" divides the schedule
	// into equal sections with as many steps each; Steps is then their sum. See Space.
	Spacing string `json:"spacing,omitempty"`
	// Eta is the noise that ddim adds at each step: 0 none, 1 as much as ddpm.
	Eta float64 `json:"eta,omitempty"`

	// Guidance is the scale of classifier-free guidance; 0 and 1 mean none.
	Guidance float64 `json:"guidance,omitempty"`
	// GuidancePower lets the scale grow from 1 as the noise falls, see PowerCosine; 0 keeps it the
	// same at every step.
	GuidancePower float64 `json:"guidance_power,omitempty"`
	// GuideAll guides all channels of epsilon, not only the first three as DiT's code does.
	GuideAll bool `json:"guide_all,omitempty"`
	// Clip clamps each predicted image to [-1,1], for models of pixels.
	Clip bool `json:"clip,omitempty"`

	// RNG is the source of random numbers; "" means RNGOwn.
	RNG RNG `json:"rng,omitempty"`
}

// Network is what a sampler must know of the network and of how it was trained.
type Network struct {
	Schedule string // "linear", which "" means, or "cosine"; always over 1000 timesteps
	Variance Variance
}

// FieldError reports a setting that has no meaning.
type FieldError struct {
	Field string // of the struct, such as "Eta"
	Value any
	Want  string
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %v: want %s", words(e.Field), e.Value, e.Want)
}

// words returns a field's name as people read it: "guidance power" for GuidancePower.
func words(field string) string {
	if strings.ToUpper(field) == field {
		return strings.ToLower(field)
	}
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// Methods lists the samplers.
func Methods() []string { return []string{"ddpm", "ddim", "dpm++"} }

// ParseSteps reads steps as users write them: "50", "ddim50" or "10,15,20".
func ParseSteps(text string) (steps int, spacing string, err error) {
	list, err := Space(Timesteps, text)
	if err != nil {
		return 0, "", err
	}
	switch {
	case strings.HasPrefix(text, strideSpacing):
		spacing = strideSpacing
	case strings.Contains(text, ","):
		spacing = text
	}
	return len(list), spacing, nil
}

// StepsText returns the steps as ParseSteps reads them.
func (s Sampling) StepsText() string {
	switch s.Spacing {
	case "", strideSpacing:
		return s.Spacing + strconv.Itoa(s.Steps)
	default:
		return s.Spacing
	}
}

// WithDefaults returns s with its zero values replaced by what they mean.
func (s Sampling) WithDefaults() Sampling {
	if s.Sampler == "" {
		s.Sampler = "ddim"
	}
	if s.Steps == 0 && s.Spacing == "" {
		s.Steps = DefaultSteps
	}
	if s.Guidance == 0 {
		s.Guidance = 1
	}
	if s.Guidance == 1 {
		s.GuidancePower = 0
	}
	if s.RNG == "" {
		s.RNG = RNGOwn
	}
	return s
}

// Validate reports a setting that has no meaning, as a *FieldError where it is one field's.
func (s Sampling) Validate() error {
	s = s.WithDefaults()
	switch {
	case !finite(s.Guidance) || s.Guidance < 0:
		return &FieldError{"Guidance", s.Guidance, "a number, 0 or more"}
	case !finite(s.GuidancePower) || s.GuidancePower < 0:
		return &FieldError{"GuidancePower", s.GuidancePower, "a number, 0 or more"}
	case s.RNG != RNGOwn && s.RNG != RNGTorch:
		return &FieldError{"RNG", s.RNG, fmt.Sprintf("%s or %s", RNGOwn, RNGTorch)}
	}
	_, err := s.New(Network{})
	return err
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// New returns the sampler for a network. An error says which name or number is wrong and what is
// right.
func (s Sampling) New(n Network) (Sampler, error) {
	s = s.WithDefaults()
	schedule, err := ParseSchedule(n.Schedule, Timesteps)
	if err != nil {
		return nil, err
	}
	process, err := NewProcess(schedule, s.StepsText())
	if err != nil {
		return nil, err
	}
	if s.Steps != 0 && process.Steps() != s.Steps {
		return nil, &FieldError{"Steps", s.Steps, fmt.Sprintf("%d, the sum of the sections %s", process.Steps(), s.Spacing)}
	}
	if s.Sampler != "ddim" && s.Eta != 0 {
		return nil, &FieldError{"Eta", s.Eta, fmt.Sprintf("0: sampler %q has no eta, only ddim has", s.Sampler)}
	}
	switch s.Sampler {
	case "ddpm":
		if n.Variance < LearnedRange || n.Variance > FixedLarge {
			return nil, fmt.Errorf("unknown variance %d", n.Variance)
		}
		return DDPM{Process: process, Variance: n.Variance, ClipDenoised: s.Clip}, nil
	case "ddim":
		if !(s.Eta >= 0 && s.Eta <= 1) {
			return nil, &FieldError{"Eta", s.Eta, "0 to 1"}
		}
		return DDIM{Process: process, Eta: s.Eta, ClipDenoised: s.Clip}, nil
	case "dpm++":
		return DPMSolver{Process: process, ClipDenoised: s.Clip}, nil
	}
	return nil, &FieldError{"Sampler", abbreviate(s.Sampler), strings.Join(Methods(), ", ")}
}

// Guide returns the guidance.
func (s Sampling) Guide() Guidance {
	s = s.WithDefaults()
	g := Guidance{Scale: s.Guidance}
	if s.Guidance != 1 && s.GuidancePower > 0 {
		g.ScaleAt = PowerCosine(s.Guidance, s.GuidancePower)
	}
	if s.GuideAll {
		g.Kind = GuideAll
	}
	return g
}
