package reuse

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/seam"
)

// L2C is Learning-to-Cache ("Learning-to-Cache: Accelerating Diffusion Transformer via Layer
// Caching", arXiv 2406.01733). With steps counted down from T-1 to 0, all is computed at odd steps.
// At even ones a branch is computed where the sigmoid of its trained logit is above Threshold.
type L2C struct {
	Threshold float64 `json:"threshold" policy:"threshold" min:"0" max:"1" help:"router weight above which a branch computes"`
	Router    string  `json:"-" policy:"router" value:"the file of trained routers" help:"what says which branches compute"`

	// Logits are those of the routers, [steps][2*blocks], by steps that count down.
	Logits [][]float32 `json:"-"`
}

// NewL2C returns an L2C with its default threshold, and without routers.
func NewL2C() *L2C { return &L2C{Threshold: 0.1} }

// String returns the policy as Parse takes it, if its file is known.
func (p *L2C) String() string { return paramText("l2c", p) }

func (p *L2C) written() []string {
	if p.Router == "" {
		return []string{"threshold"}
	}
	return []string{"threshold", "router"}
}

// Set changes one parameter. The file of a router is read.
func (p *L2C) Set(key, value string) error { return setParam(p, key, value) }

func (p *L2C) afterSet(name string) error {
	if name != "router" {
		return nil
	}
	f, err := checkpoint.Open(p.Router)
	if err != nil {
		return err
	}
	defer f.Close()
	p.Logits, err = ReadRouters(f)
	return err
}

// Validate reports parameters that have no meaning.
func (p *L2C) Validate() error {
	if len(p.Logits) == 0 {
		return errors.New("no routers: want router=FILE, a file of trained ones, or the folder of a trained policy")
	}
	return checkParams(p)
}

// ContentHash implements ContentHasher.
func (p *L2C) ContentHash() string {
	h := sha256.New()
	for _, row := range p.Logits {
		binary.Write(h, binary.LittleEndian, row)
	}
	return fmt.Sprintf("l2c:threshold=%g %x", p.Threshold, h.Sum(nil))
}

// Kind implements Described.
func (p *L2C) Kind() Kind { return Caches }

// Granularity implements Described.
func (p *L2C) Granularity() Granularity { return ByBranch }

// CacheBytes implements Policy.
func (p *L2C) CacheBytes(m seam.Model, plan Plan, samples int) (int64, error) {
	b, err := p.schedule()
	if err != nil {
		return 0, err
	}
	return b.CacheBytes(m, plan, samples)
}

// Shares implements Scheduled.
func (p *L2C) Shares(m *seam.Shape, plan Plan) ([]float64, error) {
	b, err := p.schedule()
	if err != nil {
		return nil, err
	}
	return b.Shares(m, plan)
}

// NewRun implements Policy.
func (p *L2C) NewRun(m seam.Model, plan Plan, samples int) (Run, error) {
	b, err := p.schedule()
	if err != nil {
		return nil, err
	}
	return b.NewRun(m, plan, samples)
}

// schedule returns the branches that compute at each position.
func (p *L2C) schedule() (*BranchSchedule, error) {
	if err := p.Validate(); err != nil {
		return nil, named("l2c", err)
	}
	b := &BranchSchedule{Method: "l2c"}
	for position := range p.Logits {
		step := len(p.Logits) - 1 - position
		row := make([]bool, len(p.Logits[step]))
		for i, logit := range p.Logits[step] {
			row[i] = step%2 == 1 || 1/(1+math.Exp(-float64(logit))) > p.Threshold
		}
		b.Compute = append(b.Compute, row)
	}
	return b, nil
}

// routersTensor is the name of the logits in PredictorFile, [steps, 2*blocks].
const routersTensor = "routers"

// Write writes the routers to a safetensors file.
func (p *L2C) Write(path string) error {
	return checkpoint.WriteSafetensors(path, checkpoint.Content{
		Tensors: []checkpoint.Info{{
			Name:  routersTensor,
			DType: checkpoint.F32,
			Shape: []int{len(p.Logits), len(p.Logits[0])},
		}},
		Read: func(_ string, dst []float32) error {
			for i, row := range p.Logits {
				copy(dst[i*len(row):], row)
			}
			return nil
		},
	})
}

// ReadRouters reads the logits of trained routers, by steps that count down, in either form: one
// tensor routers, [steps, 2*blocks], as Write writes it, or a tensor routers.STEP.prob or STEP.prob
// for each step, as the method's own code saves them.
func ReadRouters(f *checkpoint.File) ([][]float32, error) {
	read := readRouterSteps
	if _, ok := f.Lookup(routersTensor); ok {
		read = readRouterTable
	}
	list, err := read(f)
	if err != nil {
		return nil, err
	}
	return list, checkLogits(f.Path, list)
}

// The largest routers that are read.
const maxRouterSteps, maxRouterBranches = 1000, 1 << 12

func readRouterTable(f *checkpoint.File) ([][]float32, error) {
	info, _ := f.Lookup(routersTensor)
	if s := info.Shape; len(s) != 2 || s[0] < 1 || s[0] > maxRouterSteps || s[1] < 1 || s[1] > maxRouterBranches {
		return nil, fmt.Errorf("%s: tensor %s has shape %v, want [steps, 2*blocks]", f.Path, routersTensor, s)
	}
	all, err := f.Float32(routersTensor)
	if err != nil {
		return nil, err
	}
	return slices.Collect(slices.Chunk(all, info.Shape[1])), nil
}

func readRouterSteps(f *checkpoint.File) ([][]float32, error) {
	prefix := routersTensor + "."
	if _, ok := f.Lookup("0.prob"); ok {
		prefix = ""
	}
	var list [][]float32
	for i := range maxRouterSteps {
		name := fmt.Sprintf("%s%d.prob", prefix, i)
		info, ok := f.Lookup(name)
		if !ok {
			break
		}
		if n := info.Len(); n < 1 || n > maxRouterBranches || i > 0 && n != len(list[0]) {
			return nil, fmt.Errorf(
				"%s: tensor %s has shape %v, want a number for each branch, as many in every tensor",
				f.Path, name, info.Shape)
		}
		row, err := f.Float32(name)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no routers: looked for the tensors %s, %s.0.prob and 0.prob",
			f.Path, routersTensor, routersTensor)
	}
	return list, nil
}

func checkLogits(path string, list [][]float32) error {
	for i, row := range list {
		for _, v := range row {
			if math.IsNaN(float64(v)) {
				return fmt.Errorf("%s: a logit of step %d is not a number", path, i)
			}
		}
	}
	return nil
}
