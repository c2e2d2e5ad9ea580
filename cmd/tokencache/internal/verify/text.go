package verify

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tokencache/tokencache/internal/formula"
	"github.com/tokencache/tokencache/internal/regularfile"
	"github.com/tokencache/tokencache/t5"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/unigram"
)

// textEncoders checks recordings of a T5 encoder with the weights beside them, and with those in
// the folder full, which have the decoder with them.
func (r *run) textEncoders(dir string, recordings []string) error {
	e, err := t5.Open(context.Background(), dir)
	if err != nil {
		return err
	}
	if full := filepath.Join(dir, "full"); isDir(full) {
		c := Check{Name: "weights/full"}
		if other, err := t5.Open(context.Background(), full); err != nil {
			c.Error, c.Reason = noNumber, err.Error()
		} else if other.Fingerprint != e.Fingerprint {
			c.Error, c.Reason = noNumber, fmt.Sprintf("fingerprint %s, want %s", other.Fingerprint, e.Fingerprint)
		}
		r.add(c)
	}
	for _, name := range recordings {
		c, err := openRecording(filepath.Join(dir, name))
		if err == nil {
			err = r.encoded(e, c)
			c.Close()
		}
		if err != nil {
			r.fail(stem(name), err)
		}
		if err := r.graph.Err(); err != nil {
			return err
		}
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// encoded checks every case of a recording: the output of each block that was recorded, and the
// last hidden state.
func (r *run) encoded(e *t5.Encoder, c *recording) error {
	for _, name := range c.Names() {
		prefix, ok := strings.CutSuffix(name, ".input_ids")
		if !ok {
			continue
		}
		shape, err := c.shape(name, 2)
		if err != nil {
			return err
		}
		in, err := textInput(c, prefix, shape[0], shape[1])
		if err != nil {
			return err
		}
		watch := func(i int, x *tensor.Tensor) {
			name := fmt.Sprintf("%s.block.%d", prefix, i)
			if want, err := c.Float32(name); err == nil {
				r.compare(c.stem+"/"+name, x.Flat(), want, tolerance)
			}
		}
		r.graph.Reset()
		x, err := e.Forward(r.graph, in, watch)
		if err != nil {
			return err
		}
		want, err := c.Float32(prefix + ".last_hidden_state")
		if err != nil {
			return err
		}
		r.compare(c.stem+"/"+prefix+".last_hidden_state", x.Flat(), want, tolerance)
	}
	return nil
}

// textInput reads the ids and the mask of a case.
func textInput(c *recording, prefix string, samples, length int) (in t5.Input, err error) {
	ids, err := c.Int64(prefix + ".input_ids")
	if err != nil {
		return in, err
	}
	in.Rows = tensor.Uniform(samples, length)
	for _, id := range ids {
		in.IDs = append(in.IDs, int32(id))
	}
	if !c.has(prefix + ".attention_mask") {
		return in, nil
	}
	mask, err := c.Int64(prefix + ".attention_mask")
	if err != nil {
		return in, err
	}
	if len(mask) != len(ids) {
		return in, fmt.Errorf("tensor %s.attention_mask has %d numbers, want %d", prefix, len(mask), len(ids))
	}
	for _, m := range mask {
		in.Real = append(in.Real, m != 0)
	}
	return in, nil
}

// formulaEncoder checks a recording of FLAN-T5-Large's encoder with weights from the formula.
func (r *run) formulaEncoder(c *recording) error {
	config := t5.FlanT5Large()
	src := new(formula.Source)
	for _, w := range config.Tensors() {
		src.Add(w.Name, w.Shape...)
	}
	r.work("making the weights of FLAN-T5-Large's encoder")
	e, err := t5.New(config, src)
	if err != nil {
		return err
	}
	for _, prefix := range []string{"prompt", "padded"} {
		info, ok := c.Lookup(prefix + ".input_ids")
		if !ok {
			return fmt.Errorf("tensor %s.input_ids is missing", prefix)
		}
		r.work("running FLAN-T5-Large's encoder")
		in, err := textInput(c, prefix, 1, info.Len())
		if err != nil {
			return err
		}
		var blocks [][]float32
		r.graph.Reset()
		x, err := e.Forward(r.graph, in, func(_ int, x *tensor.Tensor) { blocks = append(blocks, slices.Clone(x.Flat())) })
		if err != nil {
			return err
		}
		if err := r.summaries(c, c.Metadata()[prefix+".blocks"], blocks); err != nil {
			return err
		}
		want, err := c.Float32(prefix + ".last_hidden_state")
		if err != nil {
			return err
		}
		r.compare(c.stem+"/"+prefix+".last_hidden_state", x.Flat()[:min(len(want), len(x.Flat()))], want, tolerance)
	}
	return nil
}

// isTokenizerFolder reports whether recorded token ids are in dir.
func isTokenizerFolder(dir string) bool {
	for _, name := range []string{"cases.jsonl", "spiece.model", "tokenizer.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// tokenizers checks the ids of recorded texts under the rules of each program, and padded ones.
func (r *run) tokenizers(dir string) error {
	sp, err := unigram.Open(filepath.Join(dir, "spiece.model"), unigram.SentencePiece)
	if err != nil {
		return err
	}
	hf, err := unigram.Open(filepath.Join(dir, "tokenizer.json"), unigram.HuggingFace)
	if err != nil {
		return err
	}
	tf5, err := unigram.Open(filepath.Join(dir, "tokenizer.json"), unigram.Transformers5)
	if err != nil {
		return err
	}
	wrong := map[string]int{}
	first := map[string]string{}
	check := func(name, text string, got, want []int32) {
		if _, seen := wrong[name]; !seen {
			wrong[name] = 0
		}
		if !slices.Equal(got, want) {
			wrong[name]++
			if first[name] == "" {
				first[name] = fmt.Sprintf("%+.60q: %v, want %v", text, got, want)
			}
		}
	}
	type tokens struct {
		Text   string
		HF     []int32
		TF5    []int32
		SP     []int32
		Length int     `json:"max_length"`
		IDs    []int32 `json:"input_ids"`
		Mask   []int32 `json:"attention_mask"`
	}
	if err := eachLine(filepath.Join(dir, "cases.jsonl"), func(c tokens) {
		check("cases/hf", c.Text, hf.Encode(c.Text), c.HF)
		check("cases/sp", c.Text, sp.Encode(c.Text), c.SP)
		if c.TF5 == nil {
			c.TF5 = c.HF
		}
		check("cases/tf5", c.Text, tf5.Encode(c.Text), c.TF5)
	}); err != nil {
		return err
	}
	padded, err := filepath.Glob(filepath.Join(dir, "padded*.jsonl"))
	if err != nil {
		return err
	}
	for _, path := range padded {
		if err := eachLine(path, func(c tokens) {
			ids, mask, _ := tf5.EncodePadded(c.Text, max(c.Length, 1))
			check(stem(path)+"/ids", c.Text, ids, c.IDs)
			check(stem(path)+"/mask", c.Text, mask, c.Mask)
		}); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wrong)) {
		c := Check{Name: name}
		if wrong[name] > 0 {
			c.Error, c.Reason = noNumber, fmt.Sprintf("%d texts differ, first %s", wrong[name], first[name])
		}
		r.add(c)
	}
	return nil
}

// eachLine calls see with every line of a file of JSON values.
func eachLine[T any](path string, see func(T)) error {
	f, _, err := regularfile.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for i := 1; lines.Scan(); i++ {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			return fmt.Errorf("%s: line %d: %w", path, i, err)
		}
		see(v)
	}
	return lines.Err()
}
