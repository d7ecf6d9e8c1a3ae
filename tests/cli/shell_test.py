#!/usr/bin/env python3
"""Completions, the manual page and help. Needs GRAFT_PROGRAM and GRAFT_EXAMPLES."""
import re
import shutil
import subprocess
import tempfile
import unittest

from program import run

COMMANDS = ["classify", "finetune", "evaluate", "inspect"]


def text(*arguments):
    result = run(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def options_of(command):
    return set(re.findall(r"^  (?:-h,)?(--[a-z0-9-]+)", text(command, "--help"), re.M))


class Shell(unittest.TestCase):
    def complete(self, *words):
        """What bash offers for the last word."""
        script = text("completion", "bash") + "COMP_WORDS=(graft " + " ".join(f"'{word}'" for word in words) + ")\n" \
            "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_graft\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
        result = subprocess.run(["bash", "-u", "-c", script], capture_output=True, text=True)
        self.assertEqual(result.stderr, "")
        return result.stdout.split()

    def test_bash_completes_commands_options_and_values(self):
        self.assertEqual(self.complete("fine"), ["finetune"])
        self.assertTrue(set(COMMANDS) <= set(self.complete("")))
        for command in COMMANDS:
            self.assertEqual(set(self.complete(command, "--")), options_of(command))
        self.assertEqual(self.complete("finetune", "--optimizer", "a"), ["adam", "adamw"])
        self.assertEqual(self.complete("finetune", "--recipe", ""), ["plain", "fine-tune", "gradual"])
        self.assertEqual(self.complete("classify", "photo"), [])  # left to bash: files

    def test_zsh_and_fish_name_every_option(self):
        zsh, fish = text("completion", "zsh"), text("completion", "fish")
        for command in COMMANDS:
            for option in options_of(command):
                self.assertIn(f"'{option}[", zsh)
                self.assertIn(f"'__fish_seen_subcommand_from {command}' -l {option[2:]} ", fish)
        for shell, script in (("zsh", zsh), ("fish", fish)):
            if shutil.which(shell):
                self.assertEqual(subprocess.run([shell, "-n"], input=script, capture_output=True, text=True).stderr, "")

    def test_the_manual_has_every_option_and_is_sound(self):
        manual = text("manual")
        for command in COMMANDS:
            for option in options_of(command):
                self.assertIn(option.replace("-", "\\-"), manual)
        if not shutil.which("groff"):
            self.skipTest("no groff")
        with tempfile.NamedTemporaryFile("w", suffix=".1") as file:
            file.write(manual)
            file.flush()
            result = subprocess.run(["groff", "-man", "-ww", "-Tutf8", "-z", file.name], capture_output=True, text=True)
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_help_of_every_command_has_an_example_of_it(self):
        for command in self.complete(""):
            self.assertRegex(text(command, "--help"), rf"Examples:\n(.*\n)*?.*graft {command}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
