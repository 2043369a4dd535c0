package client_test

import (
	"testing"

	"berth/engine/client"
)

func TestIDOfAnEngine(t *testing.T) {
	a, b := client.EngineID("/run/x"), client.EngineID("/run/x/")
	if client.EngineID("/run/berth") != "0" || a != b || len(a) != 5 || a == client.EngineID("/run/y") {
		t.Errorf("%s %s", a, b)
	}
}
