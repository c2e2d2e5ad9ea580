package comparison

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache/calibrate"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/report"
	"github.com/tokencache/tokencache/reuse"
)

// otherImages is how far apart the seeds of a calibration and of a comparison are.
const otherImages = 1000

// DefaultSeed is the seed of a comparison: another one than that of calibrations.
const DefaultSeed = 1 + otherImages

// searchFolder is the folder in that of a search with the images that it chose by, and triedFile
// lists what it tried.
const (
	searchFolder = "search"
	triedFile    = "tried.json"
)

// SearchDefaults sets the settings of a search whose calibrations learn from images of seed: it
// chooses by images of another seed, its answer is measured on those of a third, and none of them is
// that of a comparison. A TokenCache is calibrated with fewer trials than one policy alone, and other
// methods from fewer images.
func SearchDefaults(o *Options, seed uint64) {
	const batch = 4
	o.Seed = seed + 2*otherImages
	o.Batch, o.Timed, o.Repeat = batch, batch, 3
	o.Calibration.Seed, o.Calibration.Images = seed, 16
	o.Calibration.Trials, o.Calibration.Few = 16, 8
}

// SearchMethods lists the methods that a search tries unless others are named: the solvers and the
// cache methods, without the control, the paper's versions, and l2c, which takes long to calibrate.
func SearchMethods() []string {
	omitted := []string{"update-norm", reuse.L2CMethod}
	return slices.DeleteFunc(searchable(), func(name string) bool { return slices.Contains(omitted, name) })
}

// searchable lists the names of all methods that have settings for speeds.
func searchable() []string {
	return slices.DeleteFunc(Methods(), func(name string) bool { return methodOf(name).bundled != "" })
}

// CheckMethods reports names that Search does not take: those of no method.
func CheckMethods(names []string) error {
	known := append(searchable(), All, fewerSteps)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%q is no method to be tried: want some of %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// ErrNoReference reports a target that is about Fréchet distances where there are no real images.
var ErrNoReference = errors.New("no real images to compute Fréchet distances to")

// Winner is the result of a search.
type Winner struct {
	*Result // what was measured on unseen images, the uncached model first
	// Cell is the best candidate's; nil if none meets the target.
	Cell *report.Cell
	// Policy is the best candidate as a policy of its own, with its evidence; nil likewise. Its
	// Sampling is the candidate's.
	Policy *reuse.Trained
	// Learned writes what the policy learned to a file; nil if there is nothing.
	Learned func(path string) error

	Tried       []Trial  // on the images of the search's seed
	Missed      []string // candidates that were near, and what they have
	Unreachable []string // methods that are too slow for the target, and what they reach
}

// few is how many images all candidates are tried on.
const few = 4

// Search searches samplers, their steps and the policies on them together for the best candidate
// that meets a target: see hunt. It chooses by o.Count images; the answer is measured on measured
// others, of another seed.
func Search(ctx context.Context, o Options, t Target, measured int) (*Winner, error) {
	start := time.Now()
	if err := CheckSearch(o, t, measured); err != nil {
		return nil, err
	}
	b, err := newBench(o, t, measured)
	if err != nil {
		return nil, err
	}
	h := &hunt{lab: b, target: t, few: min(few, o.Count), many: o.Count}
	if t.NeedsFrechet() {
		h.few = h.many // a distance of few images says nothing
	}
	arms, err := b.candidates(ctx, h.few)
	if err != nil {
		return nil, err
	}
	best, err := h.run(ctx, arms, b.armWork(h.few))
	if err != nil {
		return nil, err
	}
	w := &Winner{Result: b.unseen.result, Tried: b.tried, Missed: h.missed, Unreachable: h.slow}
	if err := writeJSON(filepath.Join(o.Dir, triedFile), w.Tried); err != nil {
		return nil, err
	}
	if best == nil {
		return w, nil
	}
	w.Cell = &w.Cells[len(w.Cells)-1] // what was verified last
	return w, b.answer(w, start)
}

// CheckSearch reports what Search would refuse, before anything is measured or read: counts, methods
// that there are not, and a target without what its bounds are to.
func CheckSearch(o Options, t Target, measured int) error {
	if o.Count < 2 || measured < 1 || o.Timed < 1 || o.Repeat < 1 {
		return fmt.Errorf("%d images, %d measured, %d timed, %d repetitions: "+
			"want 2 or more, and 1 or more of the others", o.Count, measured, o.Timed, o.Repeat)
	}
	if err := CheckMethods(o.Policies); err != nil {
		return err
	}
	if t.NeedsFrechet() && (o.Reference == nil || o.Reference.Gaussian == nil && o.RealImages == nil) {
		return fmt.Errorf("target %s: %w", t.Text, ErrNoReference)
	}
	_, err := t.against(o.Sampling)
	return err
}

// newBench returns the lab of a search.
func newBench(o Options, t Target, measured int) (*bench, error) {
	against, err := t.against(o.Sampling)
	if err != nil {
		return nil, err
	}
	b := &bench{target: t, against: against, known: map[string]outcome{}, told: o.OnProgress}
	seen, unseen := twoSets(o, measured)
	seen.OnProgress, unseen.OnProgress = b.forward(), b.forward()
	if b.seen, err = newRunner(seen); err != nil {
		return nil, err
	}
	b.unseen, err = newRunner(unseen)
	return b, err
}

// twoSets returns the options of a search's two sets of images: which it chooses by, and which its
// answer is measured on.
func twoSets(o Options, measured int) (seen, unseen Options) {
	o.OnProgress = nil
	o.Calibration.Unmeasured, o.Spread = true, true
	seen, unseen = o, o
	seen.Dir = filepath.Join(o.Dir, searchFolder)
	unseen.Seed, unseen.Count = o.Seed+otherImages, measured
	unseen.Timed = min(o.Timed, measured)
	return seen, unseen
}

// candidates returns what is tried, and says what that is, what the reference of the target leaves
// out and how long it takes.
func (b *bench) candidates(ctx context.Context, few int) ([]*arm, error) {
	r := b.seen
	names := r.names()
	onQuality := b.target.psnr > 0 || b.target.speed > 0
	others := b.against == AgainstConverged || !onQuality
	arms := r.arms(names, b.target, true, others)
	// Beforehand, with all that may be candidates.
	b.all = b.work(arms, few)
	what := fmt.Sprintf("%d candidates on %d images each, the best of them on %d, and the answer on %d unseen ones",
		len(arms), few, r.Count, b.unseen.Count)
	if err := r.announce(ctx, b.all, "%s", what); err != nil {
		return nil, err
	}
	own := fmt.Sprintf("%s, %s steps", r.Sampling.WithDefaults().Sampler, r.Sampling.StepsText())
	if onQuality {
		r.stage("PSNR is to %s", b.against.describe(own))
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if r.solution == nil || b.target.psnr == 0 {
		return arms, nil
	}
	f, err := b.uncachedFidelity()
	if err != nil || f >= b.target.psnr {
		return arms, err
	}
	r.stage("cache policies on %s are no candidates: without a policy it is %.1f dB from the converged solution", own, f)
	return r.arms(names, b.target, false, others), nil
}

// uncachedFidelity is how near the uncached model's images are to the converged solution.
func (b *bench) uncachedFidelity() (float64, error) {
	images, err := b.seen.base.first(b.seen.Count)
	if err != nil {
		return 0, err
	}
	f, err := fidelity(images, b.seen.solution)
	if err != nil {
		return 0, err
	}
	return f.Mean, nil
}

// describe says what a reference is, and what it admits.
func (a Against) describe(own string) string {
	if a == AgainstConverged {
		return "the converged solution: candidates are samplers, their steps, and cache policies on them and on " + own
	}
	return "the uncached run of " + own + ": candidates are cache policies on it; other samplers and steps have " +
		"other images, and are candidates with the converged solution as the reference"
}

// answer makes the policy of the winner, with its evidence.
func (b *bench) answer(w *Winner, start time.Time) error {
	r, cell := b.unseen, w.Cell
	text, sampling, _ := cutSampler(r.Sampling, cell.Policy)
	if cell.Sampling != nil {
		sampling = *cell.Sampling
	}
	if strings.HasPrefix(text, stepsPrefix) {
		text = reuse.None{}.String()
	}
	t, err := r.trained(text)
	if err != nil {
		return err
	}
	seen := []any{b.seen.Seed}
	if seed, ok := t.Provenance["seed"]; ok { // of the images that it learned from
		seen = append(seen, seed)
	}
	others, _ := t.Provenance["other_seeds"].([]any)
	seen = append(seen, others...)
	w.Learned = learned(t, text)
	t.Model, t.Fingerprint, t.Sampling = r.Pipeline.Name(), r.Pipeline.Fingerprint(), sampling.WithDefaults()
	t.Speed = calibrate.SpeedOf(&cell.Cost, cell.Speedup, b.target.speed, r.Pipeline.Arithmetic())
	t.PSNR = 0
	evidence := b.evidence(cell)
	if sampling.WithDefaults() == r.Sampling.WithDefaults() {
		t.PSNR = calibrate.RoundPSNR(cell.PSNRUncached.Mean)
	} else {
		evidence.Add(fmt.Sprintf("speed and psnr_uncached are against %s in %s steps without a policy",
			r.Sampling.Sampler, r.Sampling.StepsText()))
		t.Contract = nil
	}
	t.Provenance = map[string]any{
		"command":     r.Command,
		"target":      b.target.Text,
		"reference":   b.against,
		"tried":       len(b.tried),
		"images":      b.seen.Count,
		"seed":        seen[0],
		"other_seeds": seen[1:],
		"seconds":     math.Round(time.Since(start).Seconds()),
		"measured":    evidence,
		"fewer_flops": math.Round(100*cell.FLOPReduction()) / 100,
	}
	w.Policy = t
	return nil
}

// evidence says what the figures of a cell were measured on.
func (b *bench) evidence(cell *report.Cell) *calibrate.Evidence {
	r := b.unseen
	note := ""
	if c := r.result.Converged; c != nil {
		note = c.None
	}
	e := calibrate.NewEvidence(r.Subjects, r.Count, r.Seed, note)
	e.PSNRUncached, e.PSNRConverged = cell.PSNRUncached, cell.PSNRConverged
	if r.solution != nil {
		e.Converged = r.solution.Solution
	}
	if cell.Note != "" {
		e.Add(cell.Note)
	}
	return e
}

// trained returns the policy of a text as one that can be saved.
func (r *runner) trained(text string) (*reuse.Trained, error) {
	policy, err := r.Open(text)
	if err != nil {
		return nil, err
	}
	if t, ok := policy.(*reuse.Trained); ok {
		return t, nil
	}
	return &reuse.Trained{Spec: reuse.Spec(text)}, nil
}

// learned returns what writes the file that a policy learned, nil if there is none. text is its
// folder, if it has one.
func learned(t *reuse.Trained, text string) func(path string) error {
	if t.Policy != nil && t.Policy.Forecast != nil {
		return t.Policy.Forecast.Write
	}
	file := filepath.Join(text, reuse.PredictorFile)
	if _, err := os.Stat(file); t.Spec != "" || err != nil {
		return nil
	}
	return func(path string) error {
		b, err := regularfile.Read(file, math.MaxInt64)
		if err != nil {
			return err
		}
		return atomicfile.Write(path, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
}

// Misses says why nothing met the target: what was near, and what is too slow.
func (w *Winner) Misses() string {
	var parts []string
	if n := len(w.Missed); n > 0 {
		parts = append(parts, "Not good enough:\n  "+strings.Join(w.Missed[max(0, n-5):], "\n  "))
	}
	if len(w.Unreachable) > 0 {
		parts = append(parts, "Too slow:\n  "+strings.Join(w.Unreachable, "\n  "))
	}
	if len(parts) == 0 {
		return "No method has a setting for it."
	}
	return strings.Join(parts, "\n")
}

// Save writes the best candidate to a folder.
func (w *Winner) Save(dir string) error { return w.Policy.Save(dir, w.Learned) }

// Command returns the command line that generates with the best candidate, which is in a folder.
func (w *Winner) Command(dir string) *report.Command {
	policy := dir
	if w.Policy.Kind() == reuse.Uncached {
		policy = reuse.None{}.String()
	}
	s := w.Policy.Sampling
	s.RNG = diffusion.RNGOwn
	return report.NewCommand("tokencache", "generate").Optional("--model", w.Model).Optional("--vae", w.VAE).
		Flag("--policy", policy).Sampling(s)
}
