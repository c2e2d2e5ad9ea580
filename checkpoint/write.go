package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/tokencache/tokencache/internal/atomicfile"
)

// The entries of a safetensors file's metadata in which a converted checkpoint keeps what was next
// to the original.
const (
	ConfigKey    = "config"           // its config.json
	TokenizerKey = "tokenizer"        // its tokenizer.json, of a model that reads text by itself
	SchedulerKey = "scheduler_config" // the scheduler_config.json of a diffusers pipeline
	PipelineKey  = "model_index"      // the model_index.json of a diffusers pipeline
	SourceKey    = "source"           // the name of the original file
	settingsKey  = "args"             // the training script's arguments: see File.Setting
)

// Content is what a file of weights is made of. Tensors are read one at a time while the file is
// written.
type Content struct {
	Tensors  []Info // with the types to write: F64, F32, F16 or BF16
	Metadata map[string]string
	Read     func(name string, dst []float32) error // as File.Read
}

// WriteSafetensors creates or replaces the safetensors file at path, whole or not at all. Values
// are rounded to the nearest, ties to even.
func WriteSafetensors(path string, c Content) error {
	header := make(map[string]any, len(c.Tensors)+1)
	if len(c.Metadata) > 0 {
		header[metadataKey] = c.Metadata
	}
	at := int64(0)
	for _, t := range c.Tensors {
		if err := t.writable(); err != nil {
			return err
		}
		if header[t.Name] != nil {
			return fmt.Errorf("write %s: tensor %s is there twice", path, t.Name)
		}
		end := at + int64(t.Len()*t.DType.Size())
		header[t.Name] = headerEntry{DType: t.DType, Shape: append([]int{}, t.Shape...), Offsets: [2]int64{at, end}}
		at = end
	}
	h, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(h)%8 != 0 { // aligns the data
		h = append(h, ' ')
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(h)))); err != nil {
			return err
		}
		if _, err := w.Write(h); err != nil {
			return err
		}
		var buf []float32
		for _, t := range c.Tensors {
			if buf, err = c.write(w, t, buf); err != nil {
				return err
			}
		}
		return nil
	})
}

// headerEntry describes a tensor in the header of a safetensors file.
type headerEntry struct {
	DType   DType    `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

// writable returns an error for a type that cannot be written.
func (i Info) writable() error {
	if !i.DType.writable() {
		return fmt.Errorf("tensor %s: elements of type %s cannot be written, want F64, F32, F16 or BF16",
			i.Name, i.DType)
	}
	return nil
}

// write writes the elements of t; buf is scratch memory, which grows.
func (c *Content) write(w io.Writer, t Info, buf []float32) ([]float32, error) {
	if n := t.Len(); cap(buf) < n {
		buf = make([]float32, n)
	}
	values := buf[:t.Len()]
	if err := c.Read(t.Name, values); err != nil {
		return buf, err
	}
	raw := make([]byte, 0, min(len(values)*8, chunk))
	for len(values) > 0 {
		n := min(len(values), chunk/8)
		raw = raw[:0]
		for _, x := range values[:n] {
			raw = t.DType.put(raw, x)
		}
		if _, err := w.Write(raw); err != nil {
			return buf, err
		}
		values = values[n:]
	}
	return buf, nil
}

// torchClasses are the storages that torch.load makes of what is written.
var torchClasses = map[DType]string{
	F64:  "DoubleStorage",
	F32:  "FloatStorage",
	F16:  "HalfStorage",
	BF16: "BFloat16Storage",
}

// metadataFile is the file of the archive with the metadata that a safetensors file would have.
// torch.load passes over it.
const metadataFile = "metadata.json"

// WritePyTorch creates or replaces the file at path, whole or not at all, with what torch.save
// makes of an ordered dict of tensors: torch.load reads it, also with weights_only. The metadata
// are kept in metadataFile.
func WritePyTorch(path string, c Content) error {
	var p pickler
	p.begin()
	for i, t := range c.Tensors {
		if err := t.writable(); err != nil {
			return err
		}
		p.tensor(t, i)
	}
	p.end()
	return atomicfile.Write(path, func(w io.Writer) error {
		counted := &counter{w: w}
		z := zip.NewWriter(counted)
		entry := func(name string) (io.Writer, error) {
			// torch.load maps storages into memory where they are aligned: the name's length and an
			// extra field bring the data to a multiple of 64.
			if err := z.Flush(); err != nil {
				return nil, err
			}
			const localHeader, extraHeader = 30, 4
			pad := int(64-(counted.n+localHeader+int64(len(name))+extraHeader)%64) % 64
			extra := binary.LittleEndian.AppendUint16([]byte("FB"), uint16(pad))
			extra = append(extra, make([]byte, pad)...)
			return z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Extra: extra})
		}
		text := func(name string, b []byte) error {
			e, err := entry(name)
			if err == nil {
				_, err = e.Write(b)
			}
			return err
		}
		if err := text("archive/data.pkl", p.Bytes()); err != nil {
			return err
		}
		if err := text("archive/byteorder", []byte("little")); err != nil {
			return err
		}
		var buf []float32
		for i, t := range c.Tensors {
			e, err := entry(fmt.Sprintf("archive/data/%d", i))
			if err != nil {
				return err
			}
			if buf, err = c.write(e, t, buf); err != nil {
				return err
			}
		}
		if err := text("archive/version", []byte("3\n")); err != nil {
			return err
		}
		if len(c.Metadata) > 0 {
			b, err := json.Marshal(c.Metadata)
			if err != nil {
				return err
			}
			if err := text("archive/"+metadataFile, b); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// counter counts the bytes written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// pickler writes the pickle of an ordered dict of tensors, in protocol 2.
type pickler struct{ bytes.Buffer }

func (p *pickler) op(b ...byte) { p.Write(b) }

func (p *pickler) global(module, name string) {
	p.op(opGlobal)
	p.WriteString(module + "\n" + name + "\n")
}

func (p *pickler) string(s string) {
	p.op(opBinUnicode)
	p.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(s))))
	p.WriteString(s)
}

func (p *pickler) int(n int) {
	p.op(opLong1, 8)
	p.Write(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func (p *pickler) ints(list []int) {
	p.op(opMark)
	for _, n := range list {
		p.int(n)
	}
	p.op(opTuple)
}

func (p *pickler) begin() {
	p.op(opProto, 2)
	p.global("collections", "OrderedDict")
	p.op(opEmptyTuple, opReduce, opMark)
}

func (p *pickler) end() { p.op(opSetItems, opStop) }

// tensor adds name: torch._utils._rebuild_tensor_v2(storage, 0, size, stride, False,
// OrderedDict()).
func (p *pickler) tensor(t Info, key int) {
	p.string(t.Name)
	p.global("torch._utils", "_rebuild_tensor_v2")
	p.op(opMark)
	p.op(opMark)
	p.string("storage")
	p.global("torch", torchClasses[t.DType])
	p.string(fmt.Sprint(key))
	p.string("cpu")
	p.int(t.Len())
	p.op(opTuple, opBinPersID)
	p.int(0)
	p.ints(t.Shape)
	strides := make([]int, len(t.Shape))
	step := 1
	for d := len(t.Shape) - 1; d >= 0; d-- {
		strides[d] = step
		step *= max(t.Shape[d], 1)
	}
	p.ints(strides)
	p.op(opNewFalse)
	p.global("collections", "OrderedDict")
	p.op(opEmptyTuple, opReduce, opTuple, opReduce)
}
