// Package hostfacts reads from the kernel what engine/spec must know to make specifications: the controllers
// of the control groups, the engine's own limits and capabilities, seccomp, AppArmor, device nodes.
//
// It owns no state and decides nothing. Entry points: Read, once per engine, and Devices and BlockDevice for
// what a service names. All that it changes is that LoadAppArmor loads a profile and RemoveGroup removes a group.
package hostfacts
