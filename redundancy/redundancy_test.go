package redundancy

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/reuse"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

var plan = reuse.Plan{
	Sampling:  diffusion.Sampling{Sampler: "ddim", Steps: 8},
	Timesteps: []float64{999, 856, 714, 571, 428, 285, 142, 0},
}

func model(t *testing.T, arch dit.Arch) *dit.Model {
	t.Helper()
	c := dit.Config{
		Arch:       arch,
		InputSize:  8,
		PatchSize:  2,
		InChannels: 4,
		Hidden:     48,
		Depth:      4,
		Heads:      4,
		MLPHidden:  192,
		NumClasses: 10,
		LearnSigma: true,
	}
	if arch != dit.ArchDiT {
		c.DecodeLayer = 2
	}
	m, err := dit.New(c, source(c.Tensors()), false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func source(tensors []checkpoint.Want) *formula.Source {
	src := new(formula.Source)
	for _, w := range tensors {
		src.Add(w.Name, w.Shape...)
	}
	return src
}

// inputs are batches of samples that drift from step to step, by drift times a direction; without
// drift timesteps stay the same too.
func inputs(m *dit.Model, samples int, seed uint64, drift float32) []*seam.Batch {
	r := rand.New(rand.NewPCG(seed, 2))
	size := m.InChannels * m.InputSize * m.InputSize
	x, way := make([]float32, samples*size), make([]float32, samples*size)
	for i := range x {
		x[i], way[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	var list []*seam.Batch
	for p, timestep := range plan.Timesteps {
		b := &seam.Batch{X: tensor.FromSlice(make([]float32, len(x)), samples, size)}
		for i := range x {
			b.X.Data[i] = x[i] + drift*float32(p)*way[i]
		}
		if drift == 0 {
			timestep = plan.Timesteps[0]
		}
		for s := range samples {
			b.T, b.Cond = append(b.T, float32(timestep)), append(b.Cond, dit.Class(s))
		}
		list = append(list, b)
	}
	return list
}

// run takes a policy through batches, one set of steps after another, and returns the predictions.
func run(t *testing.T, m *dit.Model, p reuse.Policy, sets ...[]*seam.Batch) [][]float32 {
	t.Helper()
	pool := tensor.NewPool(2)
	t.Cleanup(pool.Close)
	g := tensor.NewGraph(pool)
	r, err := p.NewRun(m, plan, sets[0][0].X.Rows)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]float32
	for _, batches := range sets {
		r.Reset()
		for p, b := range batches {
			positions := slices.Repeat([]int{p}, b.X.Rows)
			g.Reset()
			r.Begin(g, b, positions)
			out = append(out, slices.Clone(m.Forward(g, r, b).Flat()))
		}
	}
	return out
}

// TestConstantTrajectory checks that where nothing moves nothing changes: every cosine is 1 and
// every change 0.
func TestConstantTrajectory(t *testing.T) {
	m := model(t, dit.ArchDiT)
	w := newWatcher(3, false)
	run(t, m, w.policy(), inputs(m, 2, 1, 0), inputs(m, 1, 2, 0))
	watch := w.finish()
	blocks := []int{watch.Alike[0].Block, watch.Alike[1].Block, watch.Alike[2].Block}
	if !slices.Equal(blocks, []int{0, 2, 3}) {
		t.Errorf("similarity of blocks %v, want 0, 2 and 3", blocks)
	}
	for _, s := range watch.Alike {
		for _, of := range [][][]float64{s.Updates, s.Output} {
			for p := range of {
				for q, v := range of[p] {
					if math.Abs(v-1) > 1e-5 { // 48 products of float32 numbers of about 2^-24 each
						t.Errorf("block %d: cosine of steps %d and %d is %g, want 1", s.Block, p, q, v)
					}
				}
			}
		}
	}
	if c := watch.MeanChange(); c != 0 {
		t.Errorf("mean change %g, want 0", c)
	}
}

// TestWatchAgainstDefinition compares what is watched with the definitions, from updates that are
// all kept.
func TestWatchAgainstDefinition(t *testing.T) {
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv2} {
		m := model(t, arch)
		batches := inputs(m, 4, 3, 0.1)
		w := newWatcher(2, true) // the second half of the four is not watched
		plain := run(t, m, reuse.None{}, batches)
		if out := run(t, m, w.policy(), batches); !slices.Equal(out[7], plain[7]) {
			t.Errorf("%v: watching changes the prediction", arch)
		}
		updates := keptUpdates(t, m, batches)
		watch := w.finish()
		n, d, block := m.Tokens(), m.Hidden, 2
		for p := 1; p < watch.Steps; p++ {
			mean := 0.0
			for i := range 2 * n {
				now, before := updates[p][block][i*d:][:d], updates[p-1][block][i*d:][:d]
				var change, all float64
				for j := range now {
					change += sq(now[j] - before[j])
					all += sq(now[j])
				}
				v := math.Sqrt(change / all)
				mean += v / float64(2*n)
				if got := float64(watch.First[(p*watch.Blocks+block)*n+i%n]); i < n && math.Abs(got-v) > 1e-4*v {
					t.Errorf("%v: step %d, token %d: change %g, want %g", arch, p, i, got, v)
				}
			}
			if got := watch.Mean[block][p]; math.Abs(got-mean) > 1e-4*mean {
				t.Errorf("%v: step %d: mean change %g, want %g", arch, p, got, mean)
			}
		}
		// All 16 tokens are kept for similarity.
		want := 0.0
		for i := range 2 * n {
			a, b := updates[1][block][i*d:][:d], updates[6][block][i*d:][:d]
			var ab, aa, bb float64
			for j := range a {
				ab, aa, bb = ab+float64(a[j])*float64(b[j]), aa+sq(a[j]), bb+sq(b[j])
			}
			want += ab / math.Sqrt(aa*bb) / float64(2*n)
		}
		for _, got := range []float64{watch.Alike[1].Updates[1][6], watch.Alike[1].Updates[6][1]} {
			if math.Abs(got-want) > 1e-5 {
				t.Errorf("%v: cosine of steps 1 and 6 is %g, want %g", arch, got, want)
			}
		}
	}
}

func sq(x float32) float64 { return float64(x) * float64(x) }

// keptUpdates returns the updates of a run of the uncached model, [step][block].
func keptUpdates(t *testing.T, m *dit.Model, batches []*seam.Batch) [][][]float32 {
	t.Helper()
	var updates [][][]float32
	run(t, m, reuse.Observe(reuse.None{}, reuse.Observer{
		Sites: seam.SitesOf(seam.Block),
		Begin: func(*tensor.Graph, *seam.Batch, []int) {
			updates = append(updates, make([][]float32, len(m.Blocks)))
		},
		Site: func(at seam.Site, in, out *seam.Tokens) {
			update := slices.Clone(out.X.Flat())
			for i, v := range in.X.Flat() {
				update[i] -= v
			}
			updates[len(updates)-1][at.Block] = update
		},
	}), batches)
	return updates
}

func parse(t *testing.T, text string) reuse.Policy {
	t.Helper()
	p, err := reuse.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRecord checks that recording changes nothing, that the recorded I-steps are those at which the
// policy computes all tokens, and that at the others as many were computed as its ratio says.
func TestRecord(t *testing.T) {
	for _, arch := range []dit.Arch{dit.ArchDiT, dit.ArchMDTv2} {
		m := model(t, arch)
		first, second := inputs(m, 4, 4, 0.1), inputs(m, 2, 5, 0.1)
		for _, text := range []string{
			"tokencache:ratio=0.25,k=3",
			"tokencache:ratio=0.25,k=3,at=every",
			"tokencache:ratio=0.5,selection=per-block,importance=random",
			"tokencache:ratio=0,k=2",
			"tokencache:ratio=0.25,site=body",
			"tokencache:ratio=0.375,keys=fresh,steps=list,i=0+1+4",
			"tokencache:ratio=0.5,keys=kept,at=every,steps=tprr,k1=2,k2=4,boundary=0.5",
		} {
			t.Run(string(arch)+"/"+text, func(t *testing.T) { checkRecord(t, m, text, first, second) })
		}
	}
}

func checkRecord(t *testing.T, m *dit.Model, text string, first, second []*seam.Batch) {
	policy := parse(t, text)
	r := newRecorder(policy, 3, 3, true)
	recorded := run(t, m, r.policy(), first, second)
	for i, out := range run(t, m, policy, first, second) {
		if !slices.Equal(out, recorded[i]) {
			t.Fatalf("recording changes the prediction at step %d", i)
		}
	}
	record := r.finish()
	ratios, err := policy.(*reuse.TokenCache).StepRatios(plan.Steps())
	if err != nil {
		t.Fatal(err)
	}
	var steps []int // at which all tokens are computed
	for p, ratio := range ratios {
		if ratio == 1 {
			steps = append(steps, p)
		}
	}
	if !slices.Equal(record.ISteps, steps) {
		t.Errorf("I-steps %v, want %v", record.ISteps, steps)
	}
	share, _ := record.schedule()
	for p, v := range share {
		want := ratios[p]
		if math.Abs(v-want) > 1e-9 {
			t.Errorf("share %g of the tokens computed at step %d, want %g", v, p, want)
		}
		for image, of := range record.First {
			sum := 0.0
			for _, v := range of[p*record.Tokens:][:record.Tokens] {
				sum += float64(v) / float64(record.Tokens)
			}
			if math.Abs(sum-want) > 1e-5 {
				t.Errorf("share %g of image %d computed at step %d, want %g", sum, image, p, want)
			}
		}
	}
	if (record.Importance != nil) != (policy.(*reuse.TokenCache).Ratio > 0) {
		t.Errorf("importance %v", record.Importance)
	}
}

// TestRecordBranches checks that policies of branches are recorded too: FORA computes all or
// nothing, all where the steps that are left are a multiple of n.
func TestRecordBranches(t *testing.T) {
	m := model(t, dit.ArchDiT)
	r := newRecorder(parse(t, "fora:n=3"), 2, 1, false)
	run(t, m, r.policy(), inputs(m, 2, 6, 0.1))
	record := r.finish()
	if want := []int{0, 1, 4, 7}; !slices.Equal(record.ISteps, want) {
		t.Errorf("I-steps %v, want %v", record.ISteps, want)
	}
	if got := record.Computed(); math.Abs(got-4.0/8) > 1e-9 || record.Importance != nil {
		t.Errorf("%g computed, importance %v; want 4/8, none", got, record.Importance)
	}
}

// TestImportance checks that the pairs of highest recorded importance are those that are computed.
func TestImportance(t *testing.T) {
	m := model(t, dit.ArchDiT)
	const ratio, at = 0.25, 4
	r := newRecorder(parse(t, "tokencache:ratio=0.25,k=3,at=every"), 1, 1, false)
	run(t, m, r.policy(), inputs(m, 1, 7, 0.1))
	record := r.finish()
	pairs := record.Blocks * record.Tokens
	alpha := r.alpha[at*pairs:][:pairs]
	sorted := slices.Sorted(slices.Values(alpha))
	least := sorted[pairs-int(ratio*float64(pairs))]
	for block := range record.Blocks {
		count := 0
		for _, a := range alpha[block*record.Tokens:][:record.Tokens] {
			if a >= least {
				count++
			}
		}
		if got := record.Share[block][at] * float64(record.Tokens); math.Abs(got-float64(count)) > 1e-9 {
			t.Errorf("block %d: %g tokens computed, %d are among the most important", block, got, count)
		}
	}
	if !math.IsNaN(record.Importance.Mean[3]) || !(record.Importance.Mean[at] > 0) {
		t.Errorf("mean importance of steps %v, want none at the I-step 3", record.Importance.Mean)
	}
}

// TestPredictorImportance checks that a predictor tells its importance at every step, without
// changing the pass.
func TestPredictorImportance(t *testing.T) {
	m := model(t, dit.ArchDiT)
	for _, kind := range []reuse.Importance{reuse.Static, reuse.Dynamic} {
		c := reuse.NewPredictorConfig(kind, m.Shape())
		predictor, err := reuse.NewPredictor(c, source(c.Tensors()))
		if err != nil {
			t.Fatal(err)
		}
		policy := *reuse.NewTokenCache()
		policy.Importance, policy.Predictor = kind, predictor
		batches := inputs(m, 2, 8, 0.1)
		r := newRecorder(&policy, 2, 0, false)
		recorded := run(t, m, r.policy(), batches)
		for i, out := range run(t, m, &policy, batches) {
			if !slices.Equal(out, recorded[i]) {
				t.Fatalf("%s: recording changes the prediction at step %d", kind, i)
			}
		}
		for p, v := range r.finish().Importance.Mean {
			if !(v > 0 && v < 1) {
				t.Errorf("%s: mean importance %g at step %d, want one between 0 and 1", kind, v, p)
			}
		}
	}
}

// TestCleanImage checks that the clean image is found again in x_t and the noise.
func TestCleanImage(t *testing.T) {
	const timestep = 400
	levels := diffusion.UniversalSchedule()
	bar := math.Pow(levels.Level(timestep).Alpha, 2)
	f := &film{
		plan:   reuse.Plan{Timesteps: []float64{timestep}},
		levels: levels,
		images: 1,
		frame:  map[int]int{0: 0},
		clean:  [][][]float32{{nil}},
	}
	clean, noise := []float32{0.5, -1, 2}, []float32{1, 0.25, -3}
	x := make([]float32, 3)
	for i := range x {
		x[i] = float32(math.Sqrt(bar))*clean[i] + float32(math.Sqrt(1-bar))*noise[i]
	}
	f.state(0, 0, x)
	f.state(1, 0, x) // an image that is not kept
	f.prediction(0, 0, append(noise, 9, 9, 9))
	for i, v := range f.clean[0][0] {
		if math.Abs(float64(v-clean[i])) > 1e-5 {
			t.Errorf("element %d: %g, want %g", i, v, clean[i])
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		n, limit int
		want     []int
	}{{0, 3, []int{}}, {1, 3, []int{0}}, {3, 5, []int{0, 1, 2}}, {5, 3, []int{0, 2, 4}}, {50, 4, []int{0, 16, 33, 49}}} {
		if got := spread(c.n, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("%d of %d: %v, want %v", c.limit, c.n, got, c.want)
		}
	}
}
