// Package kernel is the arithmetic of all other packages: matrix products with packed weights,
// attention, and operations over rows of activations, on plain float32 slices, in generic Go and in
// assembly: AVX2+FMA and AVX-512 on amd64, NEON on arm64.
//
// It knows nothing of tensors, models or goroutines: a caller divides an operation into parts and
// runs each part on a goroutine of its choosing. How an operation is divided never changes its
// result, bit for bit.
//
// The assembly is written by the generator in _asm; see CONTRIBUTING.md. An assembly routine is
// entered only after Go code has checked every length.
package kernel

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Level is an instruction-set level. A higher level includes the lower ones. Each architecture has
// levels and names of its own.
type Level int

// Generic is portable Go, the lowest level of every architecture.
const Generic Level = 0

// EnvLevel is the environment variable that limits the level, for tests and for comparing machines:
// on amd64 "generic", "avx2", "avx512", "vnni" or "bf16", on arm64 "generic", "neon", "dotprod",
// "bf16" or "i8mm". It never raises the level above the machine's.
const EnvLevel = "TOKENCACHE_CPU"

func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l]
}

// ParseLevel is the inverse of Level.String.
func ParseLevel(s string) (Level, error) {
	for l, name := range levelNames {
		if strings.EqualFold(s, name) {
			return Level(l), nil
		}
	}
	return 0, fmt.Errorf("unknown CPU level %q: want one of %s", s, strings.Join(levelNames[:], ", "))
}

// Impl is one implementation of every operation at one level.
type Impl struct {
	Level   Level
	floats  Level      // the level whose operations in float32 it has
	bf16    Level      // the level whose products of bfloat16 it has, to the bit
	product productOps // gemm.go
	row     rowOps     // rows.go
	narrow  narrowOps  // dtype.go
}

// impls holds every implementation compiled into this binary, lowest level first; the assembly
// files add theirs. impls[0] is the generic one.
var impls = append([]*Impl{{
	Level:   Generic,
	floats:  Generic,
	bf16:    Generic,
	product: genericProduct,
	row:     genericRow,
	narrow:  genericNarrow,
}}, archImpls()...)

// active is the implementation in use. It is the only global state of the package, is set once at
// start, and is changed later only by tests and benchmarks, through Use.
var active = choose(os.Getenv(EnvLevel))

// Impls lists the implementations compiled into this binary, lowest level first, whether or not
// this machine can run them: see Impl.Supported.
func Impls() []*Impl { return impls }

// Supported reports whether this machine can run the implementation.
func (im *Impl) Supported() bool { return im.Level <= machineLevel() }

func (im *Impl) String() string { return im.Level.String() }

// Active returns the implementation in use.
func Active() *Impl { return active }

// ActiveLevel returns the level of the implementation in use that operations in float32 run at: of
// levels that differ in other number formats only, the lowest.
func ActiveLevel() Level { return active.floats }

// LevelOf returns the level of the implementation in use for a network whose products have a number
// format: of levels that give the same bits, the lowest.
func LevelOf(d DType) Level {
	if d == BF16 || AttentionIn(d) == BF16 {
		return active.bf16
	}
	return active.floats
}

// Arithmetic identifies the bits that a network with a number format has on this machine: the name
// of LevelOf, behind the architecture's if that is not amd64, where the same name means other bits.
func Arithmetic(d DType) string {
	name := LevelOf(d).String()
	if runtime.GOARCH != "amd64" {
		name = runtime.GOARCH + "-" + name
	}
	return name
}

// Use makes im the implementation in use and returns the one that was. Weights packed before the
// call are unusable after it. It must not run during any operation: it is for tests and benchmarks.
func Use(im *Impl) (previous *Impl) {
	if !im.Supported() {
		panic("kernel: " + im.String() + " is not supported by this machine")
	}
	previous, active = active, im
	return previous
}

// EnvError returns an error if the value of EnvLevel is not a level; then the best level is in use.
func EnvError() error {
	if s := os.Getenv(EnvLevel); s != "" {
		if _, err := ParseLevel(s); err != nil {
			return fmt.Errorf("environment variable %s: %w", EnvLevel, err)
		}
	}
	return nil
}

// choose returns the best implementation that the machine supports, up to the named level.
func choose(limit string) *Impl {
	highest := Level(len(levelNames) - 1)
	if l, err := ParseLevel(limit); err == nil {
		highest = l
	}
	best := impls[0]
	for _, im := range impls {
		if im.Supported() && im.Level <= highest {
			best = im
		}
	}
	return best
}
