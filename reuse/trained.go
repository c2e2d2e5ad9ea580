package reuse

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/digest"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/seam"
)

// A trained policy is a folder with these files.
const (
	PolicyFile = "policy.json"
	// PredictorFile holds a predictor that chooses tokens, routers that choose branches, or the
	// weights of learned forecasts.
	PredictorFile = "predictor.safetensors"
)

// Methods of trained policies.
const (
	TokenCacheMethod  = "tokencache"
	SmoothCacheMethod = "smoothcache"
	TeaCacheMethod    = "teacache"
	MagCacheMethod    = "magcache"
	L2CMethod         = "l2c"
	DPCacheMethod     = "dpcache"
	CEMMethod         = "cem"
	L2PMethod         = "l2p"
	SpecMethod        = "named" // a policy by its parameters
)

// policyFormat is the version of policy.json.
const policyFormat = 1

// Trained is a policy that was calibrated for one model, sampler and number of steps, and says how.
type Trained struct {
	Format int          `json:"format"`
	Method string       `json:"method"` // which of the policies that follow is there
	Policy *TokenCache  `json:"policy,omitempty"`
	Smooth *SmoothCache `json:"smoothcache,omitempty"`
	Tea    *TeaCache    `json:"teacache,omitempty"`
	Mag    *MagCache    `json:"magcache,omitempty"`
	L2C    *L2C         `json:"l2c,omitempty"`
	DP     *DPCache     `json:"dpcache,omitempty"`
	CEM    *CEM         `json:"cem,omitempty"`
	L2P    *L2P         `json:"l2p,omitempty"`
	Spec   Spec         `json:"named,omitempty"`

	Model       string `json:"model"`
	Fingerprint string `json:"model_fingerprint"`

	// Sampling is what the policy was made for. In the file its fields stand next to the others,
	// the steps as users write them.
	diffusion.Sampling `json:"-"`

	// Speed is what was measured when the policy was made. PSNR, in dB, is that of its images
	// against the uncached model's.
	Speed Speed   `json:"speed"`
	PSNR  float64 `json:"psnr_db,omitempty"`
	// Contract, if not nil, lets the policy promise a PSNR of each image: see Guard.
	Contract *Contract `json:"contract,omitempty"`
	// Precision, if not nil, says which number format the model runs in under the policy.
	Precision *Precision `json:"precision,omitempty"`
	// Provenance tells how it was made: the command, and what it took.
	Provenance map[string]any `json:"provenance,omitempty"`

	path    string
	digest  string
	learned []byte // content of PredictorFile, nil if there is none
}

// Saw reports whether a policy was made from images of a seed, as far as its provenance says: it
// learned from them, was chosen by them, or has a contract or a number format that was decided by
// them.
func (t *Trained) Saw(seed uint64) bool {
	same := func(v any) bool {
		switch v := v.(type) {
		case uint64:
			return v == seed
		case float64: // as it is read from a file
			return v == float64(seed)
		}
		return false
	}
	if same(t.Provenance["seed"]) {
		return true
	}
	others, _ := t.Provenance["other_seeds"].([]any)
	return slices.ContainsFunc(others, same) || t.Contract != nil && t.Contract.Seed == seed ||
		t.Precision != nil && t.Precision.Seed == seed
}

// Digest identifies the content of the files that the policy was read from; it is "" for a policy
// that was not read.
func (t *Trained) Digest() string { return t.digest }

// Speed is the speed of a policy against the uncached model.
type Speed struct {
	Wanted float64 `json:"wanted,omitempty"` // times the uncached model
	FLOPs  float64 `json:"flops"`            // uncached to cached, counted
	Wall   float64 `json:"wall"`             // likewise, measured
	Level  string  `json:"cpu_level,omitempty"`
}

// String returns the folder or the name of an embedded one, or the parameters.
func (t *Trained) String() string {
	if t.path != "" {
		return t.path
	}
	_, p := t.inner()
	if p == nil {
		return "no policy"
	}
	return p.String()
}

// Parameters returns the policy's parameters, wherever it was read from.
func (t *Trained) Parameters() string {
	if _, p := t.inner(); p != nil {
		return p.String()
	}
	return t.String()
}

// Title is the method's name in lists: Method, or what a TokenCache is called.
func (t *Trained) Title() string {
	if t.Policy != nil {
		return t.Policy.Title()
	}
	if t.Method == SpecMethod && t.Kind() == Uncached {
		return "a solver alone"
	}
	return t.Method
}

// calibrated is a policy that calibration or training makes.
type calibrated interface {
	Described
	Validate() error
}

// inner returns the policy and its method, or nil if there is not exactly one.
func (t *Trained) inner() (method string, p calibrated) {
	count := 0
	take := func(name string, policy calibrated, there bool) {
		if there {
			method, p = name, policy
			count++
		}
	}
	take(TokenCacheMethod, t.Policy, t.Policy != nil)
	take(SmoothCacheMethod, t.Smooth, t.Smooth != nil)
	take(TeaCacheMethod, t.Tea, t.Tea != nil)
	take(MagCacheMethod, t.Mag, t.Mag != nil)
	take(L2CMethod, t.L2C, t.L2C != nil)
	take(DPCacheMethod, t.DP, t.DP != nil)
	take(CEMMethod, t.CEM, t.CEM != nil)
	take(L2PMethod, t.L2P, t.L2P != nil)
	take(SpecMethod, t.Spec, t.Spec != "")
	if count != 1 {
		return "", nil
	}
	return method, p
}

// Kind implements Described.
func (t *Trained) Kind() Kind {
	if _, p := t.inner(); p != nil {
		return p.Kind()
	}
	return ""
}

// Granularity implements Described.
func (t *Trained) Granularity() Granularity {
	if _, p := t.inner(); p != nil {
		return p.Granularity()
	}
	return ""
}

// ContentHash implements ContentHasher: that of the policy inside, wherever its folder is.
func (t *Trained) ContentHash() string {
	_, p := t.inner()
	if p == nil {
		return t.String()
	}
	return ContentHash(p)
}

// NewRun implements Policy. It refuses another model, sampler or number of steps than the policy
// was made for.
func (t *Trained) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	p, err := t.fitting(m, plan)
	if err != nil {
		return nil, err
	}
	return p.NewRun(m, plan, samples)
}

// CacheBytes implements Policy.
func (t *Trained) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	p, err := t.fitting(m, plan)
	if err != nil {
		return 0, err
	}
	return p.CacheBytes(m, plan, samples)
}

// Shares implements Scheduled.
func (t *Trained) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	if err := t.Fits(m.Fingerprint, plan); err != nil {
		return nil, err
	}
	if _, p := t.inner(); p != nil {
		return sharesOf(p, m, plan)
	}
	return nil, nil
}

// fitting returns the policy if it is for the model and the plan.
func (t *Trained) fitting(m seam.Model, plan Plan) (Policy, error) {
	if err := t.Fits(m.Shape().Fingerprint, plan); err != nil {
		return nil, err
	}
	_, p := t.inner()
	if p == nil {
		return nil, errors.New("the trained policy holds no policy, or more than one")
	}
	return p, nil
}

// MismatchError reports a policy that was made for something else than it is used with.
type MismatchError struct {
	Policy string
	Field  string // Model, Steps (with the sampler), Solver (its options) or Eta
	Made   string // what the policy was made for
	Used   string // what it is used with
	For    diffusion.Sampling
	By     *Trained // the policy, for who makes another
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("policy %s was made for %s, not for %s", e.Policy, e.Made, e.Used)
}

// Fits reports, as a *MismatchError, that the policy is not for a model with a fingerprint, or not
// for a plan: another sampler, other steps or options of the solver, or another amount of noise
// added at each step, which no forecast knows.
func (t *Trained) Fits(fingerprint string, plan Plan) error {
	e := &MismatchError{Policy: t.String(), For: t.Sampling, By: t}
	switch {
	case t.Fingerprint != fingerprint:
		e.Field = "Model"
		e.Made = fmt.Sprintf("another model (%s, fingerprint %s)", t.Model, t.Fingerprint)
		e.Used = "this one, of fingerprint " + fingerprint
	case t.Sampler != plan.Sampler || t.StepsText() != plan.StepsText():
		e.Field = "Steps"
		e.Made = fmt.Sprintf("sampler %s with %s steps", t.Sampler, t.StepsText())
		e.Used = fmt.Sprintf("%s with %s", plan.Sampler, plan.StepsText())
	case optionsOf(t.Sampling) != optionsOf(plan.Sampling):
		e.Field = "Solver"
		e.Made = fmt.Sprintf("%s with %v", t.Sampler, optionsOf(t.Sampling))
		e.Used = fmt.Sprintf("%s with %v", plan.Sampler, optionsOf(plan.Sampling))
	case t.Eta != plan.Eta:
		e.Field = "Eta"
		e.Made, e.Used = fmt.Sprintf("eta %g", t.Eta), fmt.Sprintf("eta %g", plan.Eta)
	default:
		return nil
	}
	return e
}

// Save writes the policy to a folder, each file whole or not at all; policy.json comes last.
func (t *Trained) Save(dir string, predictor func(file string) error) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if predictor != nil {
		if err := predictor(filepath.Join(dir, PredictorFile)); err != nil {
			return err
		}
	}
	t.Format = policyFormat
	if t.Method, _ = t.inner(); t.Method == "" {
		return errors.New("a trained policy is of one method, neither none nor several")
	}
	return atomicfile.Write(filepath.Join(dir, PolicyFile), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(t)
	})
}

// SaveCopy writes a policy that was read from files, or that has none but policy.json, to another
// folder.
func (t *Trained) SaveCopy(dir string) error {
	if t.learned == nil {
		return t.Save(dir, nil)
	}
	return t.Save(dir, func(file string) error {
		return atomicfile.Write(file, func(w io.Writer) error {
			_, err := w.Write(t.learned)
			return err
		})
	})
}

// Open reads a trained policy from a folder.
func Open(dir string) (*Trained, error) {
	t, err := OpenFS(os.DirFS(dir), ".")
	if err != nil {
		return nil, fmt.Errorf("policy %s: %w", dir, err)
	}
	t.path = dir
	return t, nil
}

// OpenFS reads a trained policy from a folder of fsys, such as one embedded in a program.
func OpenFS(fsys fs.FS, dir string) (*Trained, error) {
	b, err := regularfile.ReadFS(fsys, pathIn(dir, PolicyFile), regularfile.MaxText)
	if err != nil {
		return nil, fmt.Errorf("no trained policy: %w", err)
	}
	t := &Trained{digest: digest.Of(b)}
	if err := json.Unmarshal(b, t); err != nil {
		return nil, fmt.Errorf("%s: %w", PolicyFile, err)
	}
	method, p := t.inner()
	if t.Format != policyFormat || p == nil || t.Method != method {
		return nil, fmt.Errorf("%s: format %d of method %q, want format %d of %s, with that policy alone",
			PolicyFile, t.Format, t.Method, policyFormat, oneOf([]string{
				TokenCacheMethod, SmoothCacheMethod, TeaCacheMethod, MagCacheMethod, L2CMethod,
				DPCacheMethod, CEMMethod, L2PMethod, SpecMethod,
			}))
	}
	if t.L2C != nil || t.L2P != nil || t.Policy != nil && (t.Policy.needsPredictor() || t.Policy.Learned) {
		if err := t.readLearned(fsys, pathIn(dir, PredictorFile)); err != nil {
			return nil, err
		}
	}
	if err := p.Validate(); err != nil {
		if method != SpecMethod {
			err = named(method, err)
		}
		return nil, fmt.Errorf("%s: %w", PolicyFile, err)
	}
	if t.Contract != nil {
		if err := t.Contract.validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", PolicyFile, err)
		}
	}
	if t.Precision != nil {
		if err := t.Precision.validate(); err != nil {
			return nil, fmt.Errorf("%s: %w", PolicyFile, err)
		}
	}
	if t.Steps == 0 {
		return nil, fmt.Errorf("%s: no steps: want the number of steps that the policy is for", PolicyFile)
	}
	if dir != "." {
		t.path = path.Base(dir)
	}
	return t, nil
}

func pathIn(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// maxLearned bounds the files of what was learned, in bytes.
const maxLearned = 1 << 30

// readLearned reads what was learned: a predictor, the weights of forecasts, or routers.
func (t *Trained) readLearned(fsys fs.FS, file string) error {
	b, err := regularfile.ReadFS(fsys, file, maxLearned)
	if err != nil {
		return err
	}
	t.digest, t.learned = digest.Of(t.digest, b), b
	f, err := checkpoint.NewReader(PredictorFile, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	if t.L2C != nil {
		t.L2C.Logits, err = ReadRouters(f)
		return err
	}
	if t.L2P != nil {
		t.L2P.Weights, err = readL2P(f)
		return err
	}
	if t.Policy.Learned {
		t.Policy.Forecast, err = readForecast(f)
		return err
	}
	if t.Policy.Predictor, err = ReadPredictor(f); err != nil {
		return err
	}
	if t.Policy.Predictor.Kind != t.Policy.Importance {
		return fmt.Errorf("%s is a %s predictor, %s asks for a %s one",
			PredictorFile, t.Policy.Predictor.Kind, PolicyFile, t.Policy.Importance)
	}
	return nil
}
