package eval

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// Evaluation is how samples compare with a reference.
type Evaluation struct {
	N       int      // samples
	Frechet Estimate // Fréchet distance; with Inception it is FID
	// Agreement is the share of the samples with a label that the network assigns to it; nil if
	// there are no labels, or if the network has other classes.
	Agreement *Estimate
	// Retrieval is of the samples' prompts; nil if they have none, if none names a class, or if the
	// network was not trained on captions.
	Retrieval  *Retrieval
	ReferenceN int    // images of the reference; 0 if its statistics do not say
	Network    string // Identity
	Width      int    // D, the number of features

	// The following are measured with Inception only.

	SpatialFrechet *Estimate // sFID; nil if the reference's statistics have no spatial features
	InceptionScore *Estimate
	Precision      *Estimate // nil if the reference is statistics alone, or if there are too few images
	Recall         *Estimate // likewise
	Preprocessing  string

	// The following are the caller's to set.

	Features        string  // what the caller calls the network
	NearestDistance float64 // mean distance of samples to their nearest reference images, see Nearest

	// Reference has the statistics of the reference. It is not in the JSON.
	Reference *Statistics
	// Notes are warnings about too few images, and about prompts that name no class. They are not
	// in the JSON.
	Notes []string
}

// MarshalJSON implements json.Marshaler: an estimate "frechet" has its interval in "frechet_low"
// and "frechet_high". What was not measured is left out.
func (e *Evaluation) MarshalJSON() ([]byte, error) {
	var o object
	o.add("n", e.N)
	o.estimate("frechet", &e.Frechet)
	o.estimate("class_agreement", e.Agreement)
	if e.Retrieval != nil {
		o.estimate("prompt_retrieval", &e.Retrieval.Share)
		o.add("prompt_retrieval_n", e.Retrieval.N)
	}
	o.estimate("sfid", e.SpatialFrechet)
	o.estimate("inception_score", e.InceptionScore)
	o.estimate("precision", e.Precision)
	o.estimate("recall", e.Recall)
	if e.Preprocessing != "" {
		o.add("preprocess", e.Preprocessing)
	}
	o.add("reference_n", e.ReferenceN)
	o.add("features", e.Features)
	o.add("network", e.Network)
	o.add("feature_width", e.Width)
	if e.NearestDistance != 0 {
		o.add("nearest_distance", e.NearestDistance)
	}
	return o.end()
}

// object writes a JSON object in order.
type object struct {
	b   bytes.Buffer
	err error
}

func (o *object) add(key string, value any) {
	text, err := json.Marshal(value)
	if err != nil && o.err == nil {
		o.err = err
	}
	if o.b.Len() > 0 {
		o.b.WriteByte(',')
	}
	name, _ := json.Marshal(key) // a string always has a form
	o.b.Write(name)
	o.b.WriteByte(':')
	o.b.Write(text)
}

func (o *object) estimate(key string, e *Estimate) {
	if e == nil {
		return
	}
	o.add(key, rounded(e.Value))
	o.add(key+"_low", rounded(e.Low))
	o.add(key+"_high", rounded(e.High))
}

// rounded returns v to 12 significant digits. Those that follow tell the order in which images were
// added up, not how they are distributed.
func rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64)
	if err != nil {
		return v
	}
	return r
}

func (o *object) end() ([]byte, error) {
	return append(append([]byte{'{'}, o.b.Bytes()...), '}'), o.err
}
