#!/usr/bin/env bash
# Answers git's questions for a user and a password from the environment.
case $1 in
    Username*) echo "${HEMLINE_GIT_USER:-x-access-token}" ;;
    *) echo "${HEMLINE_GIT_TOKEN:-}" ;;
esac
