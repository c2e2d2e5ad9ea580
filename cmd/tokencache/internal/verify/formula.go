package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/vae"
)

var officialStem = regexp.MustCompile(`^(dit|mdtv1|mdtv2)-(s|b|l|xl)-([248])-(\d{2,4})$`)

// families are the names of architectures in files' names and in the papers.
var families = map[string]string{"dit": "DiT", "mdtv1": "MDT", "mdtv2": "MDTv2"}

// formula checks a file of recordings of a network of official size whose weights come from a
// formula; which network is in the file's name.
func (r *run) formula(path string) error {
	c, err := openRecording(path)
	if err != nil {
		return err
	}
	defer c.Close()
	if m := officialStem.FindStringSubmatch(c.stem); m != nil {
		pixels, err := strconv.Atoi(m[4])
		if err != nil {
			return err
		}
		return r.formulaModel(c, fmt.Sprintf("%s-%s/%s", families[m[1]], strings.ToUpper(m[2]), m[3]), pixels/8)
	}
	if c.stem == "flan-t5-large-encoder" {
		return r.formulaEncoder(c)
	}
	if strings.HasPrefix(c.stem, "minit2i-b-16-") {
		return r.minit2iFormula(c)
	}
	var a vae.Autoencoder
	switch {
	case c.stem == "sd-vae":
		config := vae.StableDiffusion()
		a, err = vae.NewKLAs(r.DType, config, source(config.Tensors()))
	case c.stem == "taesd-4ch":
		config := vae.TinyConfig{LatentChannels: 4, Width: 64, ScaleFactor: 1}
		src := source(config.Tensors())
		a, err = vae.NewTinyAs(r.DType, config, src, src)
	default:
		r.skip(path, "no network of this name: want dit-s-2-256, mdtv2-s-2-256 and the like, sd-vae, taesd-4ch, minit2i-b-16-512 or flan-t5-large-encoder")
		return nil
	}
	if err != nil {
		return err
	}
	got, err := r.decodeAndEncode(a, c)
	if err != nil {
		return err
	}
	return r.compareAutoencoder(a, c, got)
}

func (r *run) formulaModel(c *recording, name string, inputSize int) error {
	config, err := dit.Official(name, inputSize)
	if err != nil {
		return err
	}
	r.work("making the weights of %s, %s", name, filepath.Base(c.Path))
	m, err := dit.NewAs(r.DType, config, source(config.Tensors()), false)
	if err != nil {
		return err
	}
	r.rounding = roundingOf(m)
	r.work("running %s", name)
	return r.forward(m, c)
}

// source gives the listed tensors by the formula.
func source(wants []checkpoint.Want) *formula.Source {
	src := new(formula.Source)
	for _, w := range wants {
		src.Add(w.Name, w.Shape...)
	}
	return src
}

// summaries checks each block's output with what is recorded of it: [name, [mean, standard
// deviation, first six values of sample 0, token 0]], where the six may be a list of their own.
// Errors are relative to the deviation.
func (r *run) summaries(c *recording, text string, blocks [][]float32) error {
	var recorded [][]json.RawMessage
	if err := json.Unmarshal([]byte(text), &recorded); err != nil {
		return fmt.Errorf("metadata blocks: %w", err)
	}
	if len(recorded) != len(blocks) {
		return fmt.Errorf("metadata blocks tells of %d blocks, want %d", len(recorded), len(blocks))
	}
	for i, b := range recorded {
		name, want, err := summary(b)
		if err != nil || len(want)-2 > len(blocks[i]) {
			return fmt.Errorf("metadata blocks: entry %d is not a name and numbers", i)
		}
		r.summarized(c, name, want, blocks[i])
	}
	return nil
}

// namedSummaries is summaries for those of the recorded blocks that are given, by their names.
func (r *run) namedSummaries(c *recording, text string, blocks map[string][]float32) error {
	var recorded [][]json.RawMessage
	if err := json.Unmarshal([]byte(text), &recorded); err != nil {
		return fmt.Errorf("metadata blocks: %w", err)
	}
	found := 0
	for i, b := range recorded {
		name, want, err := summary(b)
		if err != nil {
			return fmt.Errorf("metadata blocks: entry %d: %w", i, err)
		}
		if x, ok := blocks[name]; ok && len(want)-2 <= len(x) {
			r.summarized(c, name, want, x)
			found++
		}
	}
	if found != len(blocks) {
		return fmt.Errorf("metadata blocks tells of %d of %d blocks", found, len(blocks))
	}
	return nil
}

// summary reads an entry: a name, and mean, standard deviation and first values.
func summary(entry []json.RawMessage) (name string, want flattened, err error) {
	if len(entry) != 2 || json.Unmarshal(entry[0], &name) != nil || json.Unmarshal(entry[1], &want) != nil || len(want) < 2 {
		return "", nil, errors.New("want a name and numbers")
	}
	return name, want, nil
}

// summarized checks a block's output with its summary: the largest error or, in another number format
// than float32, their root mean square.
func (r *run) summarized(c *recording, name string, want []float64, x []float32) {
	mean, deviation := moments(x)
	got := []float64{mean, deviation}
	for _, v := range x[:len(want)-2] {
		got = append(got, float64(v))
	}
	worst, squares := 0.0, 0.0
	for j, v := range want {
		e := math.Abs(got[j] - v)
		worst, squares = max(worst, e), squares+e*e
	}
	if r.rounding.narrow() {
		worst = math.Sqrt(squares / float64(len(want)))
	}
	check := Check{Name: c.stem + "/" + name, Error: worst / want[1], Tolerance: r.tolerance(tolerance)}
	if math.IsNaN(check.Error) || math.IsInf(check.Error, 0) {
		check.Error = noNumber
	}
	r.add(check)
}

// flattened are the numbers of a list, and of the lists in it.
type flattened []float64

func (n *flattened) UnmarshalJSON(data []byte) error {
	var x float64
	if err := json.Unmarshal(data, &x); err == nil {
		*n = append(*n, x)
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	for _, item := range list {
		if err := n.UnmarshalJSON(item); err != nil {
			return err
		}
	}
	return nil
}

func moments(x []float32) (mean, deviation float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		deviation += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)))
}
